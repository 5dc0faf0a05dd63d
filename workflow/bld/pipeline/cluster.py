"""What SLURM is asked: by the workflow before it sends jobs there, and by a job about itself."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from threading import Event
from typing import TypeVar

# As the plugin names jobs, with or without `slurm-jobname-prefix`.
NAME = re.compile(r"([A-Za-z0-9_-]+_)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SECONDS_BETWEEN_QUESTIONS = 3
FIRST_PAUSE, LONGEST_PAUSE = 5, 300
# Words for a controller, a database or a network that does not answer, and for a queue that is full
# of the user's own jobs: what goes by itself. Whatever else SLURM refuses is the request's fault.
PASSING = re.compile(
    r"timed? ?out|unable to contact|connect|temporarily|not responding|unavailable|standby|"
    r"zero bytes|message receive|authenticat|credential|munge|MaxSubmit",
    re.IGNORECASE,
)
T = TypeVar("T")


class RefusedError(RuntimeError):
    """What SLURM did not do, in its own words."""

    @property
    def is_passing(self) -> bool:
        """Whether the same will be done later: a lasting refusal is never without words."""
        return not str(self).strip() or bool(PASSING.search(str(self)))


def answer(*command: str) -> str:
    """What a command of SLURM prints; raises RefusedError if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RefusedError((done.stderr or done.stdout).strip())
    return done.stdout.strip()


def patiently(ask: Callable[[], T], given_up: Event | None = None, always: bool = False) -> T:
    """What `ask` gives. While it raises a RefusedError that is passing (or, if `always`, whichever)
    it is called again, with growing pauses, and SLURM's words are printed.

    Raises that error if it will last, or if the wait is `given_up`.
    """
    given_up = given_up or Event()
    for pause in _pauses():
        try:
            return ask()
        except RefusedError as error:
            if given_up.is_set() or not (always or error.is_passing):
                raise
            words = str(error).strip() or "it said nothing"
        print(
            f"SLURM is out of reach or full, and is asked again in {pause} s: {words}", flush=True
        )
        given_up.wait(pause)
    raise AssertionError("pauses do not end")


def _pauses() -> Iterator[int]:
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)


def keeps_accounts(configuration: str) -> bool:
    """Whether a site with this `scontrol show config` has a database that sacct can ask; where it
    has none, sacct fails or, asked in a loop, is waited for without end."""
    settings = dict(
        line.replace(" ", "").split("=", 1) for line in configuration.splitlines() if "=" in line
    )
    return settings.get("AccountingStorageType") == "accounting_storage/slurmdbd"


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
        patiently(partial(answer, "scancel", *found))
    while _forgotten(folder):
        time.sleep(SECONDS_BETWEEN_QUESTIONS)
    return found


def _forgotten(folder: str) -> list[str]:
    """Ids of the user's jobs with this working folder that were named by the plugin. Their comment,
    which says the rule, tells nothing: sites drop it."""
    ask = partial(answer, "squeue", "--me", "--noheader", "--format", "%A|%j|%Z")
    jobs = [line.split("|", 2) for line in patiently(ask).splitlines()]
    return sorted({job for job, name, where in jobs if where == folder and NAME.fullmatch(name)})


def job_start(job: str | None) -> float | None:
    """When a job that is running began, in seconds of the epoch; None outside of a job, and where
    squeue cannot tell, as in a container without it."""
    if not job:
        return None
    try:
        stamp = answer("squeue", "--noheader", "--jobs", job, "--format", "%S")
        return datetime.fromisoformat(stamp).timestamp()
    except (OSError, RefusedError, ValueError):
        return None


def first_node(job: str) -> str:
    """The node that the others of a running job meet at."""
    listed = patiently(partial(answer, "squeue", "--noheader", "--jobs", job, "--format", "%N"))
    return answer("scontrol", "show", "hostnames", listed).split()[0]
