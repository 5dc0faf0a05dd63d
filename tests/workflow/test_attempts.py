"""What `retries` counts, and what grows: on a small workflow, by Snakemake itself."""

import json
import subprocess
from pathlib import Path

import pytest

from bld.pipeline.attempts import Attempts, Cause
from bld.pipeline.step import parse_step

PACKAGE = Path(__file__).parents[2] / "workflow"
LINE = json.dumps({"code": "0" * 64, "settings": {}})
IDENTITY = parse_step(LINE).identity
SNAKEFILE = f"""
import sys
sys.path.insert(0, {str(PACKAGE)!r})
from bld.pipeline.executors import use_executors

rule work:
    output:
        made="made",
        record="made.record.json",
    params:
        step=lambda wildcards: {LINE!r},
    resources:
        mem_mb=lambda wildcards, attempt: 100 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    shell:
        "python job.py {{resources.mem_mb}} {{resources.runtime}}"

use_executors(workflow)
"""
JOB = """
import sys
from pathlib import Path
sys.path.insert(0, {package!r})
from bld.pipeline.attempts import Attempts, Event
number = len(Path("jobs").read_text().splitlines()) if Path("jobs").exists() else 0
with open("jobs", "a") as jobs:
    print(*sys.argv[1:], file=jobs)
attempts = Attempts(Path("made.record.json"), {identity!r})
attempts.write(Event.BEGAN)
code = {codes}[number]
if code == 75:
    attempts.write(Event.SAVED)
    attempts.write(Event.STOPPED)
elif code == 0:
    Path("made").touch()
    Path("made.record.json").touch()
sys.exit(code)
"""


@pytest.fixture
def run(tmp_path, no_network):
    """Run the workflow, whose jobs end with these exit codes; what each job got of memory and
    time, and what was printed."""

    def run(codes, *arguments):
        (tmp_path / "Snakefile").write_text(SNAKEFILE)
        job = JOB.format(package=str(PACKAGE), identity=IDENTITY, codes=codes)
        (tmp_path / "job.py").write_text(job)
        command = ["snakemake", "--cores", "1", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=no_network, capture_output=True, text=True)
        jobs = (tmp_path / "jobs").read_text().splitlines()
        assert (done.returncode == 0) == (tmp_path / "made").exists()
        return [tuple(map(int, line.split())) for line in jobs], done.stdout + done.stderr

    return run


def test_any_number_of_continuations_cost_no_attempt_and_ask_for_no_more(run):
    jobs, printed = run([75] * 6 + [0])
    assert jobs == [(100, 10)] * 7
    assert printed.count("work has saved and goes on in another job") == 6
    assert "Error in rule" not in printed


def test_failures_are_counted_however_many_continuations_lie_between(run):
    jobs, printed = run([75, 1, 75, 75, 1, 75, 1, 0], "--retries", "2")
    assert jobs == [(100, 10)] * 7
    assert printed.count("Error in rule work") >= 3


def test_what_was_not_enough_for_a_job_of_an_earlier_snakemake_is_not_asked_for_again(
    run, tmp_path
):
    attempts = Attempts(tmp_path / "made.record.json", IDENTITY)
    assert attempts.end("OUT_OF_MEMORY", {"mem_mb": 100, "runtime": 10}) == Cause.MEMORY
    jobs, _ = run([1, 75, 0], "--retries", "1")
    assert jobs == [(200, 10)] * 3


def test_an_interrupted_job_is_not_sent_again_inside_itself(run):
    """The process that Snakemake starts for a job of a group is a Snakemake too."""
    jobs, _ = run([75, 0], "--groups", "work=one", "--executor", "local")
    assert jobs == [(100, 10)] * 2
