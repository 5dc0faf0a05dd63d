"""What SLURM is asked: by the workflow before it sends jobs there, and by a job about itself."""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from datetime import datetime

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SECONDS_BETWEEN_QUESTIONS = 3


def answer(*command: str) -> str:
    """What a command of SLURM prints; raises CalledProcessError if it fails."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def keeps_accounts(configuration: str) -> bool:
    """Whether a site with this `scontrol show config` has a database that sacct can ask; where it
    has none, sacct fails or, asked in a loop, is waited for without end."""
    settings = dict(
        line.replace(" ", "").split("=", 1) for line in configuration.splitlines() if "=" in line
    )
    return settings.get("AccountingStorageType") == "accounting_storage/slurmdbd"


def jobs_lost_from_arrays(arrays: str, jobs: int, rules: Iterable[str]) -> str | None:
    """What to say, if anything, of the setting `slurm-array-jobs`, given how many `jobs` may be in
    the queue at once and the rules of all jobs to be run.

    The plugin (2.8.0) takes an array's jobs from the scheduler before it knows whether they are
    enough for an array, and forgets them if they are not, so all of them must fit.
    """
    chosen = {name.strip() for name in arrays.split(",")}
    counts = Counter(rules)
    for rule, count in counts.items():
        if count > jobs and chosen & {rule, "all"}:
            return (
                f"{count} jobs of {rule} are to be sent as a job array, but no more than {jobs} "
                "jobs may be in the queue at once: those beyond would be lost. Set `jobs` in "
                f"profiles/slurm/config.yaml to {count} or more, or take {rule} out of "
                "`slurm-array-jobs` there"
            )
    return None


def stop_forgotten(folder: str) -> list[str]:
    """End jobs that a killed Snakemake has left running or waiting in this folder, and wait until
    they have saved and are gone; returns their ids.

    Nobody watches them, and what they make would be made again beside them. Snakemake's lock on the
    folder says that no other is at work there; other jobs of the user's are left alone.
    """
    found = _forgotten(folder)
    if found:
        print(
            "An earlier Snakemake left jobs here; they are asked to save and to end: "
            f"{' '.join(found)}",
            flush=True,
        )
        answer("scancel", *found)
    while _forgotten(folder):
        time.sleep(SECONDS_BETWEEN_QUESTIONS)
    return found


def _forgotten(folder: str) -> list[str]:
    """Ids of the user's jobs with this working folder that were named by the plugin: by a UUID,
    with the rule as comment."""
    lines = answer("squeue", "--me", "--noheader", "--format", "%A|%j|%k|%Z").splitlines()
    jobs = [line.split("|", 3) for line in lines]
    return sorted(
        {
            job
            for job, name, comment, where in jobs
            if where == folder and UUID.fullmatch(name) and comment.startswith("rule_")
        }
    )


def job_start(job: str | None) -> float | None:
    """When a job that is running began, in seconds of the epoch; None outside of a job, and where
    squeue cannot tell, as in a container without it."""
    if not job:
        return None
    try:
        stamp = answer("squeue", "--noheader", "--jobs", job, "--format", "%S")
        return datetime.fromisoformat(stamp).timestamp()
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None


def first_node(job: str) -> str:
    """The node that the others of a running job meet at."""
    listed = answer("squeue", "--noheader", "--jobs", job, "--format", "%N")
    return answer("scontrol", "show", "hostnames", listed).split()[0]
