"""Models and data sets come into plain folders: from the hub, here a mirror on this machine that
its own client asks, and from folders on disk."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bld.hub import fetch, licence_of
from bld.pipeline.step import files_line, step_line
from hub_mirror import COMMIT, FILES, LARGE, TOKEN

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stage(online, tmp_path):
    """Run the stage: its exit status, what it says, and the folder."""

    def run(kind="model", **settings):
        settings = {"hub": "someone/small", "revision": COMMIT} | settings
        if kind == "model":
            settings = {"weights": True, "trust_remote_code": False} | settings
        folder = tmp_path / "resources/small"
        files = files_line({}, {"manifest": folder / "manifest.json"})
        command = [sys.executable, "-m", "bld.stages.fetch", "--files", files]
        command += ["--step", step_line("bld.stages.fetch", settings)]
        done = subprocess.run(command, env=online, capture_output=True, text=True)
        return done.returncode, done.stderr, folder

    return run


def found_in(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_a_model_is_a_plain_folder_with_digests_and_licence(stage):
    status, said, folder = stage()
    assert status == 0, said
    wanted = FILES.keys() - {"original/weights.pth"}
    assert found_in(folder) == wanted | {"manifest.json"}
    assert {name: (folder / name).read_bytes() for name in wanted} == {
        name: FILES[name] for name in wanted
    }
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["files"][LARGE] == {
        "bytes": 2048,
        "sha256": hashlib.sha256(FILES[LARGE]).hexdigest(),
    }
    assert (manifest["source"]["hub"], manifest["source"]["revision"]) == ("someone/small", COMMIT)
    assert manifest["licence"] == {
        "license": "other",
        "license_name": "llama3.2",
        "license_link": "LICENSE.txt",
        "files": ["LICENSE.txt"],
    }


def test_a_tokenizer_comes_without_weights(stage):
    *_, folder = stage(weights=False)
    assert (folder / "config.json").exists() and not (folder / LARGE).exists()


@pytest.mark.parametrize(
    "config, words",
    [
        ('{"model_type": "t5"}', "someone/small: found a model with an encoder (`t5`)"),
        ('{"model_type": "qwen2_5_vl"}', "`qwen2_5_vl_text` inside `qwen2_5_vl`, for which"),
        ('{"model_type": "another"}', "expected the config.json of a model that transformers"),
    ],
)
def test_a_model_of_another_kind_is_refused_as_soon_as_it_is_here(
    stage, offline, tmp_path, monkeypatch, config, words
):
    monkeypatch.setitem(FILES, "config.json", config.encode())
    status, said, folder = stage()
    assert status == 1 and not folder.exists()
    assert words in said and "Traceback" not in said
    source = tmp_path / "mine"
    source.mkdir()
    (source / "config.json").write_text(config)
    linked = {"path": str(source), "weights": True}
    files = files_line({}, {"manifest": tmp_path / "linked/manifest.json"})
    command = [sys.executable, "-m", "bld.stages.link", "--files", files]
    command += ["--step", step_line("bld.stages.link", linked)]
    done = subprocess.run(command, env=offline, capture_output=True, text=True)
    assert done.returncode == 1 and words.removeprefix("someone/small") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_whose_tokenizer_cannot_be_read_is_refused_as_soon_as_it_is_here(
    offline, tmp_path
):
    source = tmp_path / "mine"
    source.mkdir()
    (source / "config.json").write_bytes(FILES["config.json"])
    (source / "tekken.json").write_text("{}")
    files = files_line({}, {"manifest": tmp_path / "linked/manifest.json"})
    command = [sys.executable, "-m", "bld.stages.link", "--files", files]
    command += ["--step", step_line("bld.stages.link", {"path": str(source), "weights": False})]
    done = subprocess.run(command, env=offline, capture_output=True, text=True)
    assert done.returncode == 1 and not (tmp_path / "linked").exists()
    assert f"{source}: expected a tokenizer.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_repository_without_a_tokenizer_is_refused_as_soon_as_it_is_here(stage, monkeypatch):
    monkeypatch.delitem(FILES, "tokenizer.json")
    status, said, folder = stage(weights=False)
    assert status == 1 and not folder.exists()
    assert "someone/small: expected a tokenizer.json" in said and "Traceback" not in said


def test_the_rule_asks_for_a_chat_template_where_a_benchmark_does(
    online, default, write_default, tmp_path
):
    configuration = default()
    configuration["models"]["small"] = {"hub": "someone/small", "revision": COMMIT}
    [student] = {run["student"] for run in configuration["runs"].values()}
    configuration["students"][student] = {"model": "small"}
    for benchmark in configuration["benchmarks"].values():
        benchmark["chat_template"] = True
    write_default(tmp_path, configuration)
    command = ["snakemake", "--snakefile", ROOT / "Snakefile", "--directory", tmp_path]
    command += ["--cores", "1", "resources/models/small/manifest.json"]
    done = subprocess.run(command, env=online, capture_output=True, text=True)
    log = (tmp_path / "logs/fetch_model/small.log").read_text()
    names = ",".join(configuration["benchmarks"])
    assert done.returncode == 1 and f"no chat template, for which the benchmarks {names} ask" in log
    assert "Traceback" not in log


def test_a_data_set_has_the_files_that_were_asked_for_with_its_card_and_licence(stage):
    status, said, folder = stage(kind="dataset", files=["config.*"])
    assert status == 0, said
    files = {"config.json", "README.md", "LICENSE.txt", "manifest.json"}
    assert found_in(folder) == files


def test_a_token_is_used_and_written_nowhere(stage, mirror):
    _, said, folder = stage()
    assert mirror.tokens == {f"Bearer {TOKEN}"}
    assert TOKEN not in said + (folder / "manifest.json").read_text()


def test_the_rule_fetches_from_a_mirror_and_says_no_secret(
    online, default, write_default, tmp_path
):
    configuration = default()
    configuration["models"]["small"] = {"hub": "someone/small", "revision": COMMIT}
    write_default(tmp_path, configuration)
    manifest = "resources/models/small/manifest.json"
    command = ["snakemake", "--snakefile", ROOT / "Snakefile", "--directory", tmp_path]
    command += ["--cores", "1", manifest]
    done = subprocess.run(command, env=online, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / manifest).read_text())["licence"]["license_name"] == "llama3.2"
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert tmp_path / "logs/fetch_model/small.log" in written
    assert [path for path in written if TOKEN.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("file", ["config.json", LARGE])
def test_a_file_with_other_bytes_than_the_hub_states_is_refused(stage, mirror, file):
    mirror.served[file] = FILES[file][::-1]
    status, said, folder = stage()
    assert status == 1 and not folder.exists()
    assert f"what came is not what the hub states, in {file} " in said
    assert "Traceback" not in said


def test_a_download_that_ends_early_is_not_kept(stage, mirror):
    mirror.served[LARGE] = FILES[LARGE][:100]
    status, said, folder = stage()
    assert status == 1 and not folder.exists()
    assert "should be of size 2048 but has size 100" in said and "Traceback" not in said


@pytest.mark.parametrize(
    "settings, refusal, words",
    [
        ({"revision": "f" * 40}, None, f"there is no revision {'f' * 40} in it; write `main`"),
        ({"revision": "0" * 40}, None, "is a placeholder (40 zeros); write `main`"),
        ({"hub": "someone/else"}, None, "no such repository, or it is not public"),
        (
            {},
            (401, "GatedRepo"),
            "accept its licence on its page, then log in with `hf auth login`",
        ),
        (
            {},
            (403, "GatedRepo"),
            "accept its licence on its page, then log in with `hf auth login`",
        ),
        ({}, (401, "RepoNotFound"), "check the name, or log in with `hf auth login`"),
        ({}, (418, ""), "the hub answers with status 418"),
        (
            {"weights": False, "files": ["*.gguf"]},
            None,
            "no file matches *.gguf; it has LICENSE.txt",
        ),
    ],
)
def test_what_cannot_be_fetched_says_why_and_what_to_do(stage, mirror, settings, refusal, words):
    mirror.refusal = refusal
    status, said, folder = stage(**settings)
    assert status == 1 and not folder.exists()
    assert words in said and "Traceback" not in said and TOKEN not in said


def test_without_internet_one_is_told_of_login_nodes_mirrors_and_folders(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the client's attempts
    with pytest.raises(ValueError, match=r"a login node.*HF_ENDPOINT.*`path:`"):
        fetch("someone/small", COMMIT, "model", ["*"], tmp_path)


def test_a_linked_folder_has_its_licence_too(offline, tmp_path):
    source = tmp_path / "mine"
    source.mkdir()
    (source / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (source / "COPYING").write_text("You may.")
    manifest = tmp_path / "linked/manifest.json"
    line = step_line("bld.stages.link", {"path": str(source)})
    files = files_line({}, {"manifest": manifest})
    command = [sys.executable, "-m", "bld.stages.link", "--step", line, "--files", files]
    subprocess.run(command, env=offline, check=True)
    found = json.loads(manifest.read_text())
    assert found["licence"] == {"license": "apache-2.0", "files": ["COPYING"]}


def test_a_folder_that_says_nothing_of_a_licence_has_none(tmp_path):
    (tmp_path / "README.md").write_text("# No front matter\n")
    assert licence_of(tmp_path) == {"files": []}
