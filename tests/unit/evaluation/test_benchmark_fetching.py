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

    def run(**settings):
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
