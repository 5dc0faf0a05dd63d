"""What the trainings are doing, as their checkpoint folders tell it; see `training.checkpoints`.

Everything is read without a lock while files come and go: what is gone reads as if it had never been
there, and the next look sees what came instead.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pyarrow.parquet import ParquetFile

from bld.training.live_metrics import LIVE, Live, read_live, without_missing

# The heart of a training beats every ten seconds, and NFS may show that a minute late.
SILENT_SECONDS = 90
# How long a job on another machine is believed to read its inputs or write its outputs, when no heart beats.
QUIET_SECONDS = 3600


class State(Enum):
    """What a training is doing; in this order they are shown."""

    RUNNING = "running"
    STARTING = "starting"
    ENDING = "writing its outputs"
    BROKEN = "broken off"
    WAITING = "saved, waiting"
    FINISHED = "finished"


class Saved(NamedTuple):
    """The newest checkpoint: the steps done, and when it was written in seconds of the epoch."""

    steps: int
    time: float


class Watched(NamedTuple):
    """A training. `name`: stage and name; `seen`: when it last gave a sign of life, in seconds of
    the epoch; `left`: seconds to its last step as fast as this attempt went so far, evaluation and
    saving included; `holder`: what the lock says of who holds it or held it last."""

    name: str
    state: State
    live: Live | None
    saved: Saved | None
    attempts: int
    seen: float
    left: float | None
    holder: Mapping[str, Any]


def find_trainings(checkpoints: Path) -> list[Watched]:
    """The trainings that have left something in `checkpoints`, those that run first."""
    folders = [folder for stage in folders_in(checkpoints) for folder in folders_in(stage)]
    found = [_watched(folder) for folder in folders if modified(folder / "lock")]
    order = list(State)
    return sorted(found, key=lambda training: order.index(training.state))


def folders_in(folder: Path) -> list[Path]:
    """What is in `folder`, by name; nothing if it is gone or is a file."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def modified(path: Path) -> float:
    """When a file was last written, in seconds of the epoch; 0 if it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _watched(folder: Path) -> Watched:
    """Of several fingerprints that which changed last: one at a time is trained, and when it is
    done the others are removed."""
    holder, locked = _json(folder / "lock"), modified(folder / "lock")
    own = max(folders_in(folder), key=_last_sign)
    live, saved = _live(own), _saved(own)
    state = _state(_is_alive(holder), locked, own, live, saved)
    attempt = _json(own / "attempts.json")
    return Watched(
        "/".join(folder.parts[-2:]),
        state,
        live,
        saved,
        attempt.get("attempts", 0),
        max(_last_sign(own), locked),
        _seconds_left(live, attempt, modified(own / LIVE)),
        holder,
    )


def _state(
    alive: bool | None, locked: float, own: Path, live: Live | None, saved: Saved | None
) -> State:
    now, sign = time.time(), _last_sign(own)
    is_finished = bool(modified(own / "finished"))
    is_silent = now - sign > SILENT_SECONDS
    may_live = alive or (alive is None and now - max(sign, locked) < QUIET_SECONDS)
    if locked > sign and (alive or (may_live and not is_finished)):
        return State.STARTING
    if is_finished:
        return State.FINISHED
    if may_live and live and saved and saved.steps == live.steps:
        return State.ENDING
    if may_live and not is_silent:
        return State.RUNNING
    # One that stops in order has saved its last step.
    if saved and saved.steps == (len(live.rows) if live else saved.steps):
        return State.WAITING
    return State.BROKEN


def _seconds_left(live: Live | None, attempt: Mapping[str, Any], last_step: float) -> float | None:
    if live is None or "step" not in attempt or len(live.rows) <= attempt["step"]:
        return None
    seconds_per_step = (last_step - attempt["started"]) / (len(live.rows) - attempt["step"])
    return max(0.0, seconds_per_step * (live.steps - len(live.rows)))


def _last_sign(own: Path) -> float:
    return max(modified(own / "attempts.json"), modified(own / "finished"))


def _live(own: Path) -> Live | None:
    finished = own / "finished"
    for path in (finished / "0/metrics.parquet", finished / "1"):
        if changed := modified(path):
            return _last_phase(path, changed)
    return read_live(own)


@lru_cache(maxsize=256)
def _last_phase(path: Path, changed: float) -> Live | None:
    """The metrics of what is finished, read once as long as the file has not `changed`."""
    try:
        with ParquetFile(path) as file:
            rows = [without_missing(row) for row in file.read().to_pylist()]
    except (OSError, ValueError):
        return None
    phase = rows[-1]["phase"]
    rows = [row for row in rows if row["phase"] == phase]
    return Live(phase, len(rows), rows)


def _saved(own: Path) -> Saved | None:
    try:
        name = (own / "latest").read_text()
    except OSError:
        return None
    return Saved(int(name.split("-")[-1]), modified(own / "latest"))


def _is_alive(holder: Mapping[str, Any]) -> bool | None:
    """Whether the holder's process is there; unknown on another machine."""
    here = {os.environ.get("SLURMD_NODENAME"), socket.gethostname()}
    if "pid" not in holder or holder["host"] not in here:
        return None
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _json(path: Path) -> dict[str, Any]:
    """A JSON object; empty if the file is gone or not whole."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
