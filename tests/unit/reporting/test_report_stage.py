import json

import pytest

from bld.provenance.step import step_line
from bld.stages import report


@pytest.fixture
def stage(monkeypatch, tmp_path, factory):
    """Runs the stage on settings as Snakemake hands them over; the summary that it writes."""

    def run(*runs, caches=()):
        settings = {
            "title": "From the stage",
            "runs": {
                one.name: {
                    "settings": one.settings,
                    "changed": one.changed,
                    "files": {key: str(path) for key, path in one.files.items()},
                }
                for one in runs
            },
            "caches": [
                {"teacher": one.teacher, "corpus": one.corpus, "split": one.split}
                | {"files": {key: str(path) for key, path in one.files.items()}}
                for one in caches
            ],
            "figures": {"loss": {"title": "Training losses", "caption": "What they show."}},
        }
        output = tmp_path / "report"
        arguments = ["report", "--step", step_line("bld.stages.report", settings)]
        monkeypatch.setattr("sys.argv", [*arguments, "--report", str(output)])
        report.main()
        return output

    return run


def test_the_stage_writes_the_report_with_sft_runs_first(stage, factory):
    runs = [factory.run("bld-1", "bld"), factory.run("z-sft"), factory.run("a-sft", seed=2)]
    output = stage(*runs, caches=[factory.cache()])
    names = [run["run"] for run in json.loads((output / "summary.json").read_text())["runs"]]
    assert names == ["a-sft", "z-sft", "bld-1"]
    page = (output / "index.html").read_text()
    assert "<h1>From the stage</h1>" in page and "Training losses" in page
    assert "large on docs, train" in page
    assert (output / "loss.svg").exists()
