"""What became of the attempts of a step, kept beside its record until the step is done:

    NAME.record.attempts      a line for every event

The job writes that it began, that it has saved something for the next attempt, and that it stopped
in order to go on in it. Snakemake's own process writes how the attempt ended, from which the next
one knows what was not enough, whoever sends it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict


class Event(StrEnum):
    """What a line is about."""

    BEGAN = "began"
    SAVED = "saved"
    STOPPED = "stopped"
    ENDED = "ended"


class Cause(StrEnum):
    """Why an attempt ended without its outputs: it goes on in the next, its memory or its time was
    not enough, or something failed."""

    TO_BE_CONTINUED = "to be continued"
    MEMORY = "memory"
    TIME = "time"
    FAILURE = "failure"


class Line(BaseModel):
    """An event of the step with this `identity`. `job`: the scheduler's id; `asked`: the resources
    of an attempt that ended, by name."""

    model_config = ConfigDict(frozen=True)

    identity: str
    event: Event
    time: AwareDatetime
    job: str | None = None
    cause: Cause | None = None
    asked: dict[str, int] = {}


class Attempts:
    """The attempts of the step with this `identity`, beside the place of its `record`."""

    def __init__(self, record: Path, identity: str) -> None:
        self.path, self._identity = record.with_suffix(".attempts"), identity

    def write(
        self,
        event: Event,
        job: str | None = None,
        cause: Cause | None = None,
        asked: Mapping[str, int] | None = None,
    ) -> Line:
        """Add a line; it is given back."""
        line = Line(
            identity=self._identity,
            event=event,
            time=now(),
            job=job,
            cause=cause,
            asked=dict(asked or {}),
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line.model_dump_json() + "\n")
        return line

    def lines(self) -> list[Line]:
        """Those of this step, not of other settings or code; a line of which a full disk has left a
        part tells nothing."""
        if not self.path.exists():
            return []
        lines = []
        for text in self.path.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                lines.append(Line.model_validate(json.loads(text)))
        return [line for line in lines if line.identity == self._identity]

    def end(self, state: str | None, asked: Mapping[str, int]) -> Cause:
        """Note that the last attempt has ended without its outputs, and why, and what it had
        `asked` for. `state`: SLURM's word for how the job ended, None where there is no SLURM."""
        lines = self.lines()
        ends = [number for number, line in enumerate(lines) if line.event == Event.ENDED]
        events = {line.event for line in lines[ends[-1] + 1 if ends else 0 :]}
        cause = cause_of(events, state)
        if self.path.exists() or cause != Cause.FAILURE:
            self.write(Event.ENDED, cause=cause, asked=asked)
        return cause

    def not_enough(self, cause: Cause, resource: str) -> int | None:
        """The most of a resource that an attempt had which ended for this cause, if any did."""
        ended = [line for line in self.lines() if line.cause == cause]
        return max((line.asked[resource] for line in ended if resource in line.asked), default=None)


def cause_of(events: set[Event], state: str | None) -> Cause:
    """Why an attempt ended, by what its job wrote and by SLURM's word."""
    if state == "OUT_OF_MEMORY":
        return Cause.MEMORY
    if Event.STOPPED in events or (state == "TIMEOUT" and Event.SAVED in events):
        return Cause.TO_BE_CONTINUED
    return Cause.TIME if state == "TIMEOUT" else Cause.FAILURE


def now() -> datetime:
    """To the second."""
    return datetime.now(UTC).replace(microsecond=0)
