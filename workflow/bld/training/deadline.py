"""When a job has to save and when it has to stop: its time limit, and the signals that ask it to
end.

A job that stops in time exits with code 75 (EX_TEMPFAIL, "try again"), and is sent again.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from bld.pipeline.launch import STARTED

RESERVE_SECONDS = 30
SECONDS_PER_MINUTE = 60


def process_start() -> float:
    """When this job began, in seconds of the epoch: the start of its launcher, or of this
    process."""
    return float(os.environ.get(STARTED) or psutil.Process().create_time())


class Deadline:
    """The clock of one job.

    `runtime`: minutes from the start of the process until it is killed, 0 for no limit.
    `checkpoint_minutes`: minutes between checkpoints, 0 for one after every step.
    """

    def __init__(self, runtime: float, checkpoint_minutes: float) -> None:
        self.runtime = runtime
        self._interval = checkpoint_minutes * SECONDS_PER_MINUTE
        self._ends = process_start() + runtime * SECONDS_PER_MINUTE if runtime else float("inf")
        self._saved = self._stepped = time.monotonic()
        self._step_seconds = self._save_seconds = 0.0
        self._signal: str | None = None

    @contextmanager
    def signals_noted(self) -> Iterator[None]:
        """SIGTERM and SIGINT do not end the process here: they are a reason to stop."""

        def note(number: int, frame: object) -> None:
            self._signal = signal.Signals(number).name

        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        self._saved = self._stepped = time.monotonic()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def step_done(self) -> None:
        """Measure the time since the step before."""
        now = time.monotonic()
        self._step_seconds = max(self._step_seconds, now - self._stepped)
        self._stepped = now

    def saved(self, seconds: float) -> None:
        """A checkpoint was written just now and took so long."""
        self._save_seconds = max(self._save_seconds, seconds)
        self._saved = self._stepped = time.monotonic()

    @property
    def save_is_due(self) -> bool:
        """The last checkpoint is older than the interval."""
        return time.monotonic() - self._saved >= self._interval

    @property
    def was_told(self) -> bool:
        """Whether a signal came."""
        return self._signal is not None

    @property
    def reason_to_stop(self) -> str | None:
        """Why this job cannot go on for another step, if it cannot: after the next, two savings
        and half a minute must still fit."""
        if self._signal:
            return f"{self._signal} came"
        room = self._step_seconds + 2 * self._save_seconds + RESERVE_SECONDS
        if time.time() + room >= self._ends:
            return f"the time limit of {self.runtime:g} minutes is near"
        return None


def say_last(line: str) -> None:
    """Print a line although the reader of our output may have got the same signal and be gone."""
    try:
        print(line, flush=True)
        print(end="", file=sys.stderr, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.dup2(nowhere, sys.stderr.fileno())
