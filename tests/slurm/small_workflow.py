"""A workflow of jobs that last a second, under the project's executors and profile."""

import json
import shutil
import sys
from pathlib import Path

from bld.pipeline.step import parse_step

PROJECT = Path(__file__).parents[2]
LINE = json.dumps({"code": "0" * 64, "settings": {}})
SNAKEFILE = f"""
import sys
sys.path.insert(0, {str(PROJECT / "workflow")!r})
from bld.pipeline.executors import use_executors

rule all:
    input:
        expand("made/{{part}}", part=["1", "2", "3"]),
    localrule: True

rule distill:
    output:
        made="made/{{part}}",
        record="made/{{part}}.record.json",
    params:
        step=lambda wildcards: {LINE!r},
    resources:
        gpu=1,
    shell:
        "{sys.executable} job.py {{output}} {{resources.runtime}}"

use rule distill as score_teacher with:
    output:
        made="shards/{{part}}",
        record="shards/{{part}}.record.json",

use_executors(workflow)
"""
# What becomes of a job is written in `plan-PART`, or else in `plan`, a word for each attempt.
JOB = f"""
import os, sys, time
from pathlib import Path
sys.path.insert(0, {str(PROJECT / "workflow")!r})
from bld.pipeline.attempts import Attempts, Event
made, record = Path(sys.argv[1]), Path(sys.argv[2])
attempts = Attempts(record, {parse_step(LINE).identity!r})
job = [os.environ.get("SLURM_ARRAY_" + part, "") for part in ("JOB_ID", "TASK_ID")]
attempts.write(Event.BEGAN, job="_".join(job))
jobs = made.with_suffix(".jobs")
with jobs.open("a") as file:
    print(sys.argv[3], file=file)
plan = Path("plan-" + made.name)
words = (plan if plan.exists() else Path("plan")).read_text().split()
word = (words + ["end"] * 9)[len(jobs.read_text().split()) - 1]
if word == "stop":
    attempts.write(Event.SAVED)
    attempts.write(Event.STOPPED)
    sys.exit(75)
if word == "fail":
    sys.exit(1)
if word == "wait":
    Path("waits").touch()
    time.sleep(600)
if word == "fill":
    filled = bytearray(3 << 29)
    filled[::4096] = b"1" * len(filled[::4096])
    time.sleep(60)
made.touch()
record.touch()
"""


def write(folder):
    """Put it into a new folder, all jobs to end well."""
    shutil.copytree(PROJECT / "profiles", folder / "profiles")
    (folder / "config").mkdir()
    (folder / "slurm").symlink_to("profiles/slurm")
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "job.py").write_text(JOB)
    (folder / "plan").write_text("")
    profile = folder / "profiles/slurm/config.yaml"
    profile.write_text(profile.read_text().replace("software-deployment-method: conda\n", ""))
