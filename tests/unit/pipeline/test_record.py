"""The record of a step: what was run on what, where, and what it took."""

import hashlib
import json
import os
import re
import subprocess
import sys
from datetime import datetime
from types import SimpleNamespace

import pytest

from bld.documents.document import make_document
from bld.documents.shards import write_splits
from bld.pipeline.code_digest import code_digest, code_modules
from bld.pipeline.record import Record, Recorder, only_seed
from bld.pipeline.step import StepLine, files_line, parse_step, step_line

STAGE = "bld.stages.build_benchmark"
SETTINGS = {"kind": "bits_per_byte", "documents": 3, "seed": 7}
SPLIT, BENCHMARK = "results/corpora/docs/train", "results/benchmarks/own"
RECORD = f"{BENCHMARK}/manifest.record.json"
USER = "plantedname"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def working(tmp_path):
    """A working folder under a planted home, with a split in it."""
    folder = tmp_path / "home" / USER / "project"
    texts = [f"Return the index of the first key that is number {n}." for n in range(9)]
    documents = [make_document(f"d{n}", "text", [("text", text)]) for n, text in enumerate(texts)]
    split = SimpleNamespace(fraction=1.0, shards=1, documents=None)
    about = {"source": {"kind": "files", "paths": [f"/data/{USER}/texts"]}}
    write_splits(documents, {"train": folder / SPLIT}, {"train": split}, 0, lambda: about)
    return folder


@pytest.fixture
def call(working):
    """Run a stage as a process in the working folder; its exit code and the record, if there is
    one."""

    def call(stage, settings, record, inputs, outputs, *flags, **variables):
        files = files_line(inputs, outputs | {"record": record})
        command = [sys.executable, "-m", stage, "--step", step_line(stage, settings)]
        command += ["--files", files, *flags]
        given = {"HOME": str(working.parent), "USER": USER, "LOGNAME": USER, **variables}
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | given
        done = subprocess.run(command, env=environment, cwd=working, capture_output=True, text=True)
        path = working / record
        return done.returncode, json.loads(path.read_text()) if path.exists() else done.stderr

    return call


@pytest.fixture
def run(call):
    """Make a benchmark from the split."""

    def run(settings=SETTINGS, documents=f"{SPLIT}/manifest.json", **variables):
        inputs, outputs = {"documents": documents}, {"manifest": f"{BENCHMARK}/manifest.json"}
        log = "--log", "logs/build_benchmark/own.log"
        return call(STAGE, settings, RECORD, inputs, outputs, *log, **variables)

    return run


def test_a_record_tells_what_was_run_on_what(run, working):
    code, record = run()
    assert code == 0, record
    names = ("stage", "rule", "log", "benchmark", "seed", "world_size", "scheduler", "format")
    assert [record[name] for name in names] == [
        "build_benchmark",
        "build_benchmark",
        "logs/build_benchmark/own.log",
        "logs/build_benchmark/own.benchmark.jsonl",
        7,
        1,
        None,
        1,
    ]
    line = step_line(STAGE, SETTINGS)
    assert record["step"] == {
        "identity": hashlib.sha256(line.encode()).hexdigest(),
        "settings": SETTINGS,
        "redacted": False,
        "code": {"digest": parse_step(line).code, "modules": code_modules(STAGE)},
    }
    split, benchmark = f"{SPLIT}/manifest.json", f"{BENCHMARK}/manifest.json"
    assert record["command"][:4] == ["python", "-m", STAGE, "--files"]
    assert Record.model_validate(record).model_dump(mode="json") == record
    assert record["inputs"] == {split: sha256(working / split)}
    assert record["outside"] == []
    made = working / benchmark
    size = {"bytes": made.stat().st_size, "sha256": sha256(made)}
    assert record["outputs"] == {benchmark: size}


def test_a_record_tells_how_long_it_took_and_of_how_much(run):
    _, record = run()
    started, ended = (
        datetime.strptime(record[key], "%Y-%m-%dT%H:%M:%S%z") for key in ("started", "ended")
    )
    assert abs((ended - started).total_seconds() - record["seconds"]) <= 1
    assert (record["gpu_hours"], record["peak_gpu_memory_bytes"]) == (0, None)
    # Python with numpy and pyarrow takes some tens of megabytes.
    assert 20e6 < record["peak_memory_bytes"] < record["hardware"]["memory_bytes"]
    assert 0 < record["hardware"]["cores"] <= os.cpu_count()
    assert record["environment"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "pyarrow" in record["environment"]["packages"]


def test_nothing_in_a_record_tells_of_a_person(run, working):
    code, record = run(documents=f"{working}/{SPLIT}/manifest.json")
    assert code == 0, record
    text = json.dumps(record)
    assert USER not in text and str(working.parents[1]) not in text
    assert not re.search(r'"/(?!scratch|data)', text)
    assert list(record["inputs"]) == [f"{SPLIT}/manifest.json"]
    [source] = record["sources"].values()
    assert source == {"source": {"kind": "files", "paths": ["/data/USER/texts"]}, "licence": None}


def fail(working, run, **variables):
    """An attempt that fails."""
    shards = [path.rename(path.with_suffix(".gone")) for path in working.glob(f"{SPLIT}/*.parquet")]
    code, _ = run(**variables)
    for path in shards:
        path.rename(path.with_suffix(".parquet"))
    assert code == 1


def test_a_step_that_fails_leaves_no_record(run, working):
    fail(working, run)
    assert {path.name for path in (working / BENCHMARK).iterdir()} == {"manifest.record.attempts"}


def test_every_attempt_is_told_of_with_its_job(run, working):
    fail(working, run, SLURM_JOB_ID="4711")
    array = {"SLURM_JOB_ID": "4714", "SLURM_ARRAY_JOB_ID": "4712", "SLURM_ARRAY_TASK_ID": "3"}
    _, record = run(**array)
    assert [attempt["job"] for attempt in record["attempts"]] == ["4711", "4712_3"]
    assert record["attempts"][0]["started"] <= record["attempts"][1]["started"]
    assert record["attempts"][1]["started"] == record["started"]
    assert record["scheduler"] == "slurm"
    assert not list(working.rglob("*.attempts")) and not list(working.rglob("*.partial"))


def test_attempts_of_a_step_with_other_settings_do_not_count(run, working):
    fail(working, run)
    (working / BENCHMARK / "manifest.record.attempts").open("a").write('{"identity": "half a li')
    _, record = run(SETTINGS | {"seed": 8})
    assert len(record["attempts"]) == 1


def test_code_that_was_edited_after_the_job_was_planned_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="was edited after this job was planned"):
        Recorder(
            tmp_path / "x.record.json", "link", StepLine({}, "identity", "before"), None, [], []
        )


def test_a_record_appears_by_rename(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError("killed here")

    monkeypatch.setattr(sys, "argv", ["", "--step", "{}"])
    path = tmp_path / "x.record.json"
    record = Recorder(
        path, "link", StepLine({}, "identity", code_digest("bld.stages.link")), None, [], []
    )
    with monkeypatch.context() as patched, pytest.raises(OSError, match="killed here"):
        patched.setattr(os, "replace", refuse)
        record.write()
    assert not path.exists()
    record.write()
    assert json.loads(path.read_text())["step"]["identity"] == "identity"
    assert list(tmp_path.iterdir()) == [path]
    path.unlink()
    record.write()  # once
    assert not path.exists()


def test_of_several_processes_the_first_alone_writes(run, working):
    code, _ = run(RANK="1")
    assert code == 0 and not list(working.rglob("*.record*"))


def test_files_that_are_linked_are_inputs_with_their_digests(call, working):
    folder = working.parent / "models/tiny"
    (folder / "deep").mkdir(parents=True)
    (folder / "weights").write_text("weights")
    (folder / "deep/LICENSE").write_text("A licence.")
    manifest = "resources/models/tiny/manifest.json"
    record = manifest.replace(".json", ".record.json")
    settings = {"path": str(folder)}
    code, found = call("bld.stages.link", settings, record, {}, {"manifest": manifest})
    assert code == 0, found
    digests = {name: sha256(folder / name) for name in ("weights", "deep/LICENSE")}
    assert found["inputs"] == {f"~/models/tiny/{name}": sha for name, sha in digests.items()}
    assert found["outside"] == sorted(found["inputs"])
    assert list(found["outputs"]) == [manifest]
    assert (found["rule"], found["log"], found["benchmark"]) == (None, None, None)
    assert found["step"]["redacted"]
    assert found["step"]["settings"] == {"path": "~/models/tiny"}


@pytest.mark.parametrize("kind", ["files", "dataset"])
def test_what_documents_are_read_from_is_an_input(call, working, kind):
    data = working / "resources/datasets/own"
    data.mkdir(parents=True)
    rows = [json.dumps({"text": f"Text number {n}."}) + "\n" for n in range(4)]
    for name in ("one.jsonl", "two.jsonl"):
        (data / name).write_text("".join(rows))
    (data / "manifest.json").write_text('{"licence": {"license": "mit"}, "files": {}}')
    columns = {"text": "text"}
    source = {"kind": "files", "paths": [str(data)], "format": "jsonl"}
    if kind == "dataset":
        source = {"kind": "dataset", "dataset": "own", "split": "train"}
    splits = {"all": {"fraction": 1.0, "shards": 1}}
    corpus = {"source": source | {"columns": columns}, "splits": splits, "seed": 2}
    settings = {"corpus": corpus, "order": ["all"]}
    manifest, record = "results/corpora/own/all/manifest.json", "results/corpora/own/x.record.json"
    code, found = call("bld.stages.build_split", settings, record, {}, {"manifest": manifest})
    assert code == 0, found
    names = ["one.jsonl", "two.jsonl"] if kind == "files" else ["manifest.json"]
    expected = {f"resources/datasets/own/{name}": sha256(data / name) for name in names}
    assert found["inputs"] == expected
    licence = {"licence": {"license": "mit"}, "source": None}
    assert found["sources"] == {path: licence for path in expected if path.endswith("t.json")}


@pytest.mark.parametrize(
    "settings, seed",
    [
        ({"a": {"seed": 3}}, 3),
        ({"seed": 0, "a": [1, {"b": 2}]}, 0),
        ({"a": {"seed": 3}, "b": {"seed": 3}}, 3),
        ({"a": {"seed": 3}, "seed": 4}, None),
        ({"a": {"seed": None}}, None),
        ({}, None),
    ],
)
def test_the_seed_is_found_wherever_it_stands_in_the_settings(settings, seed):
    assert only_seed(settings) == seed
