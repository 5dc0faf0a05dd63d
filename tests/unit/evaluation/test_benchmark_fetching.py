"""The data of a benchmark comes once: every data set at its commit into a folder of its name."""

import json
import sys

import pytest

from bld.pipeline.step import files_line, step_line
from bld.stages import fetch_benchmark

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def fetch(monkeypatch, tmp_path):
    """Run the stage with a hub that gives out a card; what was asked of it, and the manifest."""
    asked = []

    def hub(name, revision, kind, patterns, folder):
        asked.append((name, revision, kind, patterns))
        folder.mkdir(parents=True)
        (folder / "README.md").write_text("---\nlicense: mit\n---\n")

    def nltk(resource, folder, quiet, raise_on_error):
        assert raise_on_error
        if resource == "unknown":
            raise ValueError("no connection")
        asked.append((resource, folder.rpartition("/")[2]))

    def run(task="piqa", unsafe_code=False, **given):
        settings = {"task": task, "unsafe_code": unsafe_code, **given}
        monkeypatch.setattr(fetch_benchmark, "fetch", hub)
        monkeypatch.setattr(fetch_benchmark.nltk, "download", nltk)
        manifest = tmp_path / "resources/benchmarks/mine/manifest.json"
        line = step_line("bld.stages.fetch_benchmark", settings)
        files = files_line({}, {"manifest": manifest})
        monkeypatch.setattr(sys, "argv", ["-", "--step", line, "--files", files])
        fetch_benchmark.main()
        return asked, json.loads(manifest.read_text()), manifest.parent

    return run


def test_every_data_set_comes_at_its_commit_into_a_folder_of_its_name(fetch):
    asked, manifest, folder = fetch(
        data={"baber/piqa": COMMIT, "cais/mmlu": COMMIT}, nltk=["punkt_tab"]
    )
    sets = [(name, COMMIT, "dataset", ["*"]) for name in ("baber/piqa", "cais/mmlu")]
    assert asked == [*sets, ("punkt_tab", "nltk_data")]
    assert manifest["files"].keys() == {"baber/piqa/README.md", "cais/mmlu/README.md"}
    assert manifest["licence"]["cais/mmlu"]["license"] == "mit"
    assert (folder / "baber/piqa/README.md").exists()


def test_what_nltk_cannot_fetch_says_where_to_fetch(fetch):
    with pytest.raises(SystemExit, match="NLTK's unknown: no connection; fetch where there is"):
        fetch(data={"baber/piqa": COMMIT}, nltk=["unknown"])


def test_a_metric_of_the_hub_comes_into_a_folder_of_its_own_name(fetch):
    data = {"evaluate-metric/code_eval": COMMIT, "openai/openai_humaneval": COMMIT}
    asked, manifest, _ = fetch("humaneval", unsafe_code=True, data=data, nltk=[])
    assert [(name, kind) for name, _, kind, _ in asked] == [
        ("evaluate-metric/code_eval", "space"),
        ("openai/openai_humaneval", "dataset"),
    ]
    assert manifest["files"].keys() == {"code_eval/README.md", "openai/openai_humaneval/README.md"}


@pytest.mark.parametrize("task", ["humaneval", "mbpp_instruct", "humaneval_plus"])
def test_a_task_that_runs_code_is_refused_when_it_is_fetched(fetch, task):
    with pytest.raises(SystemExit, match="write `unsafe_code: true` under"):
        fetch(task, data={"openai/openai_humaneval": COMMIT}, nltk=[])
