"""The metrics of a training while it runs, for people who watch it: FOLDER/live.jsonl.

The first line names the phase and its steps, then comes a line for every step, without the values
that there are not. An attempt begins the file anew from the metrics that it goes on from, so that no
step stands there twice. Nothing is computed from it: checkpoints hold the metrics that count. Lines
wait in no buffer of ours; on NFS other machines see one when the kernel sends it, within half a minute.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

LIVE = "live.jsonl"
Row = Mapping[str, Any]


class Live(NamedTuple):
    """`steps`: of the whole phase; `rows`: one for every step so far."""

    phase: str
    steps: int
    rows: Sequence[Row]


@contextmanager
def live_metrics(
    folder: Path | None, phase: str, steps: int, table: Sequence[Row]
) -> Iterator[Callable[[Row], None]]:
    """Begin the file with the rows of `table`, and give what adds a row; without a `folder` nothing
    is written. A full disk is no error: no training ends because it cannot be watched."""
    file = None
    with suppress(OSError):
        if folder:
            partial = folder / f".{LIVE}.partial"
            file = open(partial, "wb", buffering=0)  # noqa: SIM115, closed below
            file.write(b"".join(_line(row) for row in ({"phase": phase, "steps": steps}, *table)))
            os.replace(partial, folder / LIVE)

    def add(row: Row) -> None:
        with suppress(OSError):
            if file:
                file.write(_line(row))

    try:
        yield add
    finally:
        with suppress(OSError):
            if file:
                file.close()


def read_live(folder: Path) -> Live | None:
    """What is in the file, if it is there. Lines that are not whole, as the last one can be for a
    moment and any after the disk was full, are left out."""
    try:
        lines = (folder / LIVE).read_bytes().splitlines()
    except OSError:
        return None
    head, *rows = [row for row in map(_parsed, lines) if row] or [{}]
    return Live(head["phase"], head["steps"], rows) if "steps" in head else None


def without_missing(row: Row) -> dict[str, Any]:
    """The values that are there: what was not measured is None or NaN."""
    return {name: value for name, value in row.items() if value is not None and value == value}


def _line(row: Row) -> bytes:
    return json.dumps(without_missing(row)).encode() + b"\n"


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
