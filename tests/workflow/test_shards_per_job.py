"""Snakemake on rules that share jobs between shards, which need no model."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bld.pipeline.grouping import shards_of_job

PACKAGE = Path(__file__).parents[2] / "workflow"
SNAKEFILE = f"""
import sys
sys.path.insert(0, "{PACKAGE}")
from bld.files import shard_name
from bld.pipeline.grouping import share_jobs
from bld.pipeline.steps import files

SHARDS = [shard_name(number, 7) for number in range(7)]

rule gather:
    input: expand("cache/{{shard}}.{{kind}}", shard=SHARDS, kind=["parquet", "record.json"])
    output: "cache/manifest.json"
    shell: "touch {{output}}"

rule score:
    input: documents="documents"
    output: shard="cache/{{shard}}.parquet", record="cache/{{shard}}.record.json"
    log: "logs/{{shard}}.log"
    resources: shards_per_job=1
    params: step="step", files=files
    shell: "echo {{params.files:q}} >> log; touch {{output}}"

share_jobs(workflow)
"""


@pytest.fixture
def run(tmp_path):
    """run(per_job, *arguments): what Snakemake says, and how many shards each job had."""
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "documents").write_text("")

    def call(per_job, *arguments):
        (tmp_path / "log").write_text("")
        shared = ["--set-resources", f"score:shards_per_job={per_job}"]
        command = [sys.executable, "-m", "snakemake", "--cores", "1", *shared, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        jobs = (tmp_path / "log").read_text().splitlines()
        said = done.stdout + done.stderr
        assert done.returncode == 0 or "expected a whole number" in said, said
        return said, sorted(job.count(".parquet") for job in jobs)

    return call


def test_each_shard_is_in_one_job_with_its_neighbours():
    names = [f"{number:05d}-of-00007" for number in range(7)]
    assert [shards_of_job(name, 1) for name in names] == [[name] for name in names]
    three = [names[:3], names[3:6], names[6:]]
    assert [shards_of_job(name, 3) for name in names] == [
        next(job for job in three if name in job) for name in names
    ]
    assert {tuple(shards_of_job(name, 100)) for name in names} == {tuple(names)}


def test_shards_share_jobs_and_their_number_makes_nothing_stale(run, tmp_path):
    assert run(3)[1] == [1, 3, 3]
    for per_job in (1, 2):
        assert "Nothing to be done" in run(per_job)[0]
    # One that is lost is made again with those of its job, and nothing else.
    for lost in ("00004-of-00007.parquet", "manifest.json"):
        (tmp_path / "cache" / lost).unlink()
    assert run(2)[1] == [2]
    said, _ = run("none", "--dry-run")
    assert re.search("score: expected a whole number of at least 1 as shards_per_job", said)
