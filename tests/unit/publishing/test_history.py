"""The code of a crate: its files, and the history of their repository."""

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

# Put together here, so that no scanner takes this file for a leak.
TOKEN = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567"


def contents(crate):
    with zipfile.ZipFile(crate) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def entities(crate):
    graph = json.loads(contents(crate)["ro-crate-metadata.json"])["@graph"]
    return {entity["@id"]: entity for entity in graph}


def test_the_bundle_is_the_history_and_uncommitted_changes_are_beside_it(made_up):
    readme = made_up.code / "README.md"
    committed = readme.read_text()
    readme.write_text("changed\n")
    (made_up.code / "workflow/bld/new.py").write_text("NEW = 1\n")
    files = contents(made_up.archive())
    assert files["README.md"] == b"changed\n"
    assert files["workflow/bld/new.py"] == b"NEW = 1\n"
    bundle = Path("out.bundle")
    bundle.write_bytes(files["code.bundle"])
    subprocess.run(["git", "clone", "--quiet", bundle, "clone"], check=True, capture_output=True)
    assert Path("clone/README.md").read_text() == committed
    assert not Path("clone/workflow/bld/new.py").exists()


def test_the_bundle_does_not_depend_on_how_git_keeps_the_history(made_up):
    numbers = [str(number**3) for number in range(5000)]
    for version in range(8):
        numbers[version * 500] = "changed"
        (made_up.code / "README.md").write_text("\n".join(numbers))
        made_up.commit()
    bundle = contents(made_up.archive())["code.bundle"]
    repack = ["repack", "-adfq", "--window=50", "--depth=1"]
    subprocess.run(["git", "-C", made_up.code, *repack], check=True)
    assert contents(made_up.archive())["code.bundle"] == bundle


def test_links_ignored_files_and_hidden_ones_are_no_code(made_up):
    (made_up.code / "config").mkdir()
    (made_up.code / "config/link.yaml").symlink_to("/etc/hosts")
    (made_up.code / ".gitignore").write_text("*.secret\n")
    (made_up.code / "config/a.secret").write_text("x")
    assert not [name for name in contents(made_up.archive()) if name.startswith(("config/", "."))]


def test_without_a_repository_there_is_no_bundle_and_the_crate_says_so(made_up):
    os.rename(made_up.code / ".git", made_up.folder / "git")
    crate = made_up.archive()
    assert "code.bundle" not in contents(crate)
    assert "workflow/bld/stages/distill.py" in contents(crate)
    assert "no git repository" in entities(crate)["./"]["description"]


def test_that_the_history_names_its_authors_is_said(made_up):
    crate = made_up.archive()
    [remark] = made_up.remarks
    assert remark.startswith("code.bundle names the authors of its commits")
    assert remark in entities(crate)["./"]["description"]


@pytest.mark.parametrize(
    ("leak", "what"),
    [
        (TOKEN, "a secret (Access Token)"),
        ("{home}/models", "a path of this machine"),
        ("/scratch/zyxuser/models", "a path of this machine"),
    ],
)
@pytest.mark.parametrize("is_message", [True, False])
def test_a_history_that_tells_too_much_is_not_given_away(made_up, zyxuser, leak, what, is_message):
    leak = f"path: {leak.format(home=zyxuser)}\n"
    path = Path(made_up.write(made_up.code / "config/leak.yaml", "" if is_message else leak))
    commit = made_up.commit(leak if is_message else "all")
    path.unlink()
    made_up.commit("without it")
    assert "code.bundle" not in contents(made_up.archive())
    [remark] = made_up.remarks
    where = "the message" if is_message else "config/leak.yaml"
    assert f"its history holds {what}, in {where} of commit {commit[:12]}" in remark


def test_the_history_of_a_larger_repository_does_not_come_along(made_up):
    os.rename(made_up.code / ".git", made_up.code.parent / ".git")
    (made_up.code.parent / ".gitignore").write_text("work\n")
    code, made_up.code = made_up.code, made_up.code.parent
    commit = made_up.commit()
    made_up.code = code
    crate = made_up.archive()
    assert "code.bundle" not in contents(crate)
    assert "a folder of a larger repository" in made_up.remarks[0]
    assert entities(crate)["Snakefile"]["version"] == commit


def test_code_that_the_repository_around_it_ignores_is_archived(made_up):
    shutil.rmtree(made_up.code / ".git")
    subprocess.run(["git", "init", "--quiet", made_up.code.parent], check=True)
    (made_up.code.parent / ".gitignore").write_text("*\n")
    assert "workflow/bld/stages/distill.py" in contents(made_up.archive())
