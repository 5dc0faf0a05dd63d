"""What would be made again, and why: dry runs held against records, and the table of them."""

import io
import json
import sys

import pytest

from bld.files import sha256_of
from bld.pipeline.code_digest import code_digest, code_modules
from bld.pipeline.record import Recorder
from bld.pipeline.stale import StaleJob, print_stale, stale_jobs
from bld.pipeline.step import parse_step, step_line

STAGE = "bld.stages.link"
OUTPUTS = "results/out.json", "results/out.record.json"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The record of a step, whose input and output lie in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "in.txt").write_text("before")
    line = step_line(STAGE, {"training": {"rate": 0.1, "steps": 9}, "prompt": "x" * 500})
    monkeypatch.setattr(sys, "argv", ["", "--step", line])
    output, record = (tmp_path / name for name in OUTPUTS)
    recorder = Recorder(record, "link", parse_step(line), None, [tmp_path / "in.txt"], [output])
    output.write_text("{}")
    recorder.write()
    return json.loads(line)


def causes(step, reason="Params have changed since last execution: long", rule="link_model"):
    """What is said of a job with this step."""
    line = json.dumps(step, sort_keys=True, separators=(",", ":"))
    text = f"""Building DAG of jobs...

rule {rule}:
    input: in.txt
    output: {", ".join(OUTPUTS)}
    jobid: 3
    reason: {reason}
    wildcards: model=tiny, split=train

Shell command: python -m {STAGE} --step '{line}' --files x

localrule all:
    input: results/out.json
    jobid: 0
"""
    [job] = stale_jobs(text)
    assert (job.rule, job.target) == (rule, "tiny train")
    return list(job.causes)


def test_settings_are_named_from_what_to_what(made):
    made["settings"] |= {"training": {"rate": 0.2, "schedule": None}, "prompt": "y"}
    prompt, *others = causes(made)
    assert prompt.endswith('... -> "y"') and len(prompt) < 80
    assert others == [
        "training.rate: 0.1 -> 0.2",
        "training.schedule: not there -> null",
        "training.steps: 9 -> not there",
    ]


def test_many_settings_are_counted(made):
    made["settings"] = {"prompt": "x" * 500, **{str(n): n for n in range(5)}}
    assert causes(made)[-1] == "and 3 more settings"


def test_code_is_named_by_its_files(made, tmp_path):
    path = tmp_path / OUTPUTS[1]
    record = json.loads(path.read_text())
    now = code_modules(STAGE)
    modules = now | {"bld.folders": "0" * 64, "bld.gone": "1" * 64}
    record["step"]["code"] = {"digest": "another", "modules": modules}
    path.write_text(json.dumps(record))
    assert made["code"] == code_digest(STAGE)
    assert causes(made) == [
        f"code of workflow/bld/folders.py: 00000000 -> {now['bld.folders'][:8]}",
        "code of workflow/bld/gone.py: 11111111 -> none",
    ]


def test_an_input_with_another_content_is_named(made, tmp_path):
    before = sha256_of("in.txt")
    (tmp_path / "in.txt").write_text("after")
    changed = f"in.txt: {before[:8]} -> {sha256_of('in.txt')[:8]}"
    assert causes(made, "Updated input files: in.txt") == [changed]


def test_what_no_record_knows_is_said_as_snakemake_says_it(made):
    reason = "Code has changed since last execution; Set of input files has changed: x"
    assert causes(made, reason) == [
        "Code has changed since last execution",
        "Set of input files has changed",
    ]


def test_a_job_that_only_follows_has_no_cause_of_its_own(made):
    assert causes(made, "Input files updated by another job: in.txt") == []


def test_outputs_that_are_not_there_are_a_cause(made, tmp_path):
    (tmp_path / OUTPUTS[0]).unlink()
    assert causes(made, "Missing output files: results/out.json") == [f"not there: {OUTPUTS[0]}"]
    (tmp_path / OUTPUTS[1]).unlink()
    assert causes(made, "Missing output files: results/out.json") == ["not made yet"]


def test_a_record_that_cannot_be_read_is_no_reason_to_stop(made, tmp_path):
    (tmp_path / OUTPUTS[1]).write_text("results/out.record.json")
    assert causes(made) == ["Params have changed since last execution"]


def printed(jobs):
    file = io.StringIO()
    print_stale(jobs, file)
    return file.getvalue()


def test_jobs_of_a_rule_with_the_same_causes_share_a_row_and_followers_are_counted():
    jobs = [
        StaleJob("distill", "sft", ("steps: 1 -> 2",)),
        StaleJob("distill", "bld", ("steps: 1 -> 2",)),
        StaleJob("report", "", ()),
    ]
    text = printed(jobs)
    assert "sft and 1 more" in text and text.count("steps: 1 -> 2") == 1
    assert "report (1)" in text and "3 jobs" in text


def test_where_nothing_is_stale_the_table_says_so():
    assert printed(stale_jobs("Nothing to be done (all requested files are present).")) == (
        "Nothing is stale.\n"
    )
