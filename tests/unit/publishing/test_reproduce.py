"""From a crate to a working folder: the code as it ran, in a repository, and the configuration."""

import hashlib
import json
import os
import subprocess
import zipfile

import pytest

from bld.publishing.graph import METADATA
from bld.publishing.redraw import differences
from bld.publishing.reproduce import instructions, reproduce

RUNNER = "#!/bin/sh\n"
CONFIGURATION = """
models:
  own: {path: /data/models/own}
  made: {path: null}
datasets:
  fetched: {hub: org/data}
corpora:
  docs:
    source: {kind: files, format: jsonl, paths: [data/a.jsonl, data/b.jsonl]}
    splits: {train: {fraction: 0.5}, validation: {fraction: 0.5}}
  python:
    source: {kind: python_docs}
    splits: {train: {fraction: 1}}
students:
  small: {model: own}
runs:
  sft: {method: sft, student: small, corpus: docs}
"""


def git(folder, *arguments):
    who = ["-c", "user.name=Someone", "-c", "user.email=a@b.org"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def code(tmp_path):
    """A repository: two commits, a script, a link."""
    folder = tmp_path / "code"
    (folder / "workflow").mkdir(parents=True)
    (folder / "profiles").mkdir()
    git(folder, "init", "--quiet", "--initial-branch=trunk")
    (folder / "Snakefile").write_text("# first\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=first")
    (folder / "Snakefile").write_text("# second\n")
    (folder / "workflow/kept.py").write_text("A = 1\n")
    (folder / "workflow/deleted.py").write_text("B = 1\n")
    (folder / "workflow/run.sh").write_text(RUNNER)
    (folder / "workflow/run.sh").chmod(0o755)
    (folder / "tests.txt").write_text("not in the crate's own files\n")
    (folder / "slurm").symlink_to("profiles/slurm")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=second")
    return folder


@pytest.fixture
def crate(tmp_path):
    """Makes a crate of files; `told` is what the metadata say of one besides its digest."""

    def make(files, told=None):
        graph = [
            {"@id": METADATA, "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"}},
            {"@id": "./", "@type": "Dataset"},
        ]
        path = tmp_path / "small.crate.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                raw = content if isinstance(content, bytes) else content.encode()
                archive.writestr(name, raw)
                about = {"sha256": hashlib.sha256(raw).hexdigest(), "contentSize": str(len(raw))}
                about |= (told or {}).get(name, {})
                graph.append({"@id": name, "@type": "File", **about})
            archive.writestr(METADATA, json.dumps({"@graph": graph}))
        return path

    return make


@pytest.fixture
def files(code):
    """What the crate of a run with uncommitted changes holds: one file edited, one new, one
    deleted."""
    git(code, "bundle", "create", "--quiet", "../code.bundle", "HEAD")
    return {
        "configuration.yaml": CONFIGURATION,
        "code.bundle": (code.parent / "code.bundle").read_bytes(),
        "Snakefile": "# second\n",
        "workflow/kept.py": "A = 2\n",
        "workflow/new.py": "C = 1\n",
        "workflow/run.sh": RUNNER + "# edited\n",
        "results/archive/demo/report/summary.json": "{}",
        "resources/models/own/manifest.json": "{}",
        "logs/report.log": "done",
    }


def made(folder):
    """The files and links of a folder, its repository aside."""
    found = (os.path.relpath(path, folder) for path in folder.rglob("*") if not path.is_dir())
    links = (path.name for path in folder.iterdir() if path.is_symlink())
    return {path for path in (*found, *links) if not path.startswith(".git")}


def test_the_folder_is_a_repository_at_the_commit_with_the_changes_that_were_not_committed(
    code, crate, files, tmp_path
):
    folder = tmp_path / "again"
    found = reproduce(crate(files), folder)
    assert found.commit == git(code, "rev-parse", "HEAD") == git(folder, "rev-parse", "HEAD")
    assert git(folder, "status", "--porcelain").splitlines() == [
        "D workflow/deleted.py",
        " M workflow/kept.py",
        " M workflow/run.sh",
        "?? configuration.yaml",
        "?? workflow/new.py",
    ]
    assert found.edited == [
        f"workflow/{name}" for name in ("deleted.py", "kept.py", "run.sh", "new.py")
    ]
    assert git(folder, "branch", "--show-current") == "main"
    assert git(folder, "remote") == ""
    assert git(folder, "log", "--format=%s").splitlines() == ["second", "first"]
    git(folder, "fsck", "--strict")
    assert made(folder) == {
        *("configuration.yaml", "Snakefile", "tests.txt", "slurm"),
        *("workflow/kept.py", "workflow/new.py", "workflow/run.sh"),
    }


def test_scripts_stay_executable_and_links_stay_links(crate, files, tmp_path):
    reproduce(crate(files), tmp_path / "again")
    assert os.access(tmp_path / "again/workflow/run.sh", os.X_OK)
    assert (tmp_path / "again/workflow/run.sh").read_text() == RUNNER + "# edited\n"
    assert os.readlink(tmp_path / "again/slurm") == "profiles/slurm"


def test_results_are_put_there_where_they_are_wanted(crate, files, tmp_path):
    found = reproduce(crate(files), tmp_path / "again", with_results=True)
    names = {name for name in files if name.split("/")[0] in ("results", "resources", "logs")}
    assert names <= made(tmp_path / "again")
    told = instructions(found, tmp_path / "small.crate.zip")
    assert "snakemake report_so_far --cores 1 --configfile configuration.yaml" in told
    assert "--profile" not in told


def test_without_a_repository_the_code_is_laid_down_and_no_commit_is_known(crate, files, tmp_path):
    del files["code.bundle"]
    path, folder = crate(files), tmp_path / "again"
    found = reproduce(path, folder)
    assert found.commit is None
    assert (folder / "workflow/new.py").read_text() == "C = 1\n"
    assert not (folder / ".git").exists() and not (folder / "results").exists()
    assert "no commit is known" in instructions(found, path)


def test_what_the_user_has_to_provide_and_to_type_is_said(crate, files, tmp_path):
    path = crate(files)
    found = reproduce(path, tmp_path / "again")
    assert found.wanted == [
        "models.own.path: /data/models/own",
        "corpora.docs.source: data/a.jsonl, data/b.jsonl",
    ]
    told = instructions(found, path)
    assert all(one in told for one in (*found.wanted, str(found.commit)))
    assert "snakemake --profile profiles/local --configfile configuration.yaml" in told
    assert f"{path} --against results/archive/demo/report/summary.json" in told


def test_a_profile_that_was_left_out_of_the_crate_comes_from_the_repository(
    code, crate, files, tmp_path
):
    (code / "profiles/config.yaml").write_text("jobs: 1\n")
    git(code, "add", ".")
    git(code, "commit", "--quiet", "--message=profile")
    git(code, "bundle", "create", "--quiet", "../code.bundle", "HEAD")
    files["code.bundle"] = (code.parent / "code.bundle").read_bytes()
    reproduce(crate(files), tmp_path / "again")
    assert (tmp_path / "again/profiles/config.yaml").read_text() == "jobs: 1\n"


@pytest.mark.parametrize("configuration", ["a text", "models: {own: {path: /data}}"])
def test_what_is_no_configuration_is_for_the_workflow_to_refuse(
    crate, files, tmp_path, configuration
):
    files["configuration.yaml"] = configuration
    assert reproduce(crate(files), tmp_path / "again").wanted == []


@pytest.mark.parametrize("there", ["a file", "a folder with a file"])
def test_a_folder_with_something_in_it_is_left_alone(crate, files, tmp_path, there):
    target = tmp_path / "again"
    if there == "a file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine").write_text("mine")
    with pytest.raises(ValueError, match="expected a new or empty folder"):
        reproduce(crate(files), target)


def test_a_crate_that_is_not_whole_is_not_unpacked(crate, files, tmp_path):
    path = crate(files, told={"Snakefile": {"sha256": "00" * 32}})
    with pytest.raises(ValueError, match=r"Snakefile: the metadata says .* SHA-256 0000"):
        reproduce(path, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_repository_with_a_link_in_place_of_a_folder_leads_nowhere(code, crate, files, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (code / "results").symlink_to(outside)
    git(code, "add", ".")
    git(code, "commit", "--quiet", "--message=link")
    git(code, "bundle", "create", "--quiet", "../code.bundle", "HEAD")
    files["code.bundle"] = (code.parent / "code.bundle").read_bytes()
    reproduce(crate(files), tmp_path / "again", with_results=True)
    assert list(outside.iterdir()) == []


SUMMARY = {
    "runs": [
        {
            "run": "bld",
            "bits": 2.5,
            "train_seconds": 10.0,
            "gpu_hours": 0.5,
            "tasks": {"a": {"acc": 1}},
        }
    ],
    "comparison": [],
}


def changed(**run):
    return SUMMARY | {"runs": [SUMMARY["runs"][0] | run]}


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (SUMMARY, []),
        (changed(train_seconds=99.0, gpu_hours=0), []),
        (changed(bits=2.25), ["runs[bld].bits: 2.5, the other has 2.25"]),
        (changed(tasks={"a": {"acc": 2}}), ["runs[bld].tasks.a.acc: 1, the other has 2"]),
        (changed(more=1), ["runs[bld].more: only in the other"]),
        ({"runs": SUMMARY["runs"]}, ["comparison: only in the first"]),
        (SUMMARY | {"runs": []}, ["runs: 1 entries, the other has 0 entries"]),
        (changed(bits=None), ["runs[bld].bits: 2.5, the other has None"]),
    ],
)
def test_two_summaries_are_the_same_where_only_times_differ(other, told):
    assert list(differences(SUMMARY, other)) == told
