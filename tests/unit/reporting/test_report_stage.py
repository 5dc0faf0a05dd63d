import json

import pytest

from bld.files import sha256_of
from bld.pipeline.step import files_line, step_line
from bld.pipeline.step_settings import Report, ReportedCache, ReportedRun
from bld.stages import report


@pytest.fixture
def stage(monkeypatch, tmp_path, factory):
    """Runs the stage on settings as Snakemake hands them over; the summary that it writes."""

    def run(*runs, caches=(), splits=None):
        settings = Report(
            title="From the stage",
            runs={
                one.name: ReportedRun(settings=one.settings, changed=one.changed, files=one.files)
                for one in runs
            },
            caches=[ReportedCache(**vars(one)) for one in caches],
            splits=splits or {},
            figures=["loss"],
        )
        output, record = tmp_path / "report", tmp_path / "report.record.json"
        step = step_line("bld.stages.report", settings.dump())
        files = files_line({}, {"page": output / "index.html", "record": record})
        monkeypatch.setattr("sys.argv", ["report", "--step", step, "--files", files])
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


def test_the_record_names_every_file_that_was_read_and_written(stage, factory, tmp_path):
    runs, cache = [factory.run("bld-1", "bld"), factory.run("sft-1")], factory.cache()
    files = {path for one in (*runs, cache) for path in one.files.values()}
    gone = runs[0].files["run/bits_per_byte"]
    gone.unlink()
    documents = tmp_path / "documents.json"
    documents.write_text("{}")
    output = stage(*runs, caches=[cache], splits={"docs, train": documents})
    record = json.loads((tmp_path / "report.record.json").read_text())
    there = {documents, *(path for path in files if path.exists())}
    assert gone not in there
    assert record["inputs"] == {str(path): sha256_of(path) for path in there}
    written = {str(path): sha256_of(path) for path in output.iterdir()}
    assert {path: made["sha256"] for path, made in record["outputs"].items()} == written
