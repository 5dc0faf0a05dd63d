"""Holds the numbers of two reports against each other: those in a crate, and those of who repeated it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from bld.publishing.findings import Findings
from bld.publishing.reading import Crate, open_crate

SUMMARY = "summary.json"
TIMES = frozenset({"train_seconds", "gpu_hours"})
"""What a summary.json tells of the machine and not of the models."""


def compare_reports(crate: Path, summary: Path, findings: Findings) -> None:
    """Hold a summary.json against that of the crate's report; where it differs is a problem."""
    try:
        own = json.loads(summary.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        findings.problems.append(f"{summary}: expected the summary of a report: {error}")
        return
    with open_crate(crate) as opened:
        for name in summaries(opened):
            found = [
                f"{summary} and {name}: {text}" for text in differences(own, opened.json(name))
            ]
            findings.conclude(found, f"{summary} holds the same as {name}, times apart")


def summaries(crate: Crate) -> list[str]:
    """The summaries of the reports in a crate."""
    return [name for name in crate.names if PurePosixPath(name).match(f"report/{SUMMARY}")]


def differences(summary: Any, other: Any, where: str = "") -> Iterator[str]:
    """Where two summaries differ, in words: the place, the first's value, the other's. What trainings took
    is left out."""
    if isinstance(summary, dict) and isinstance(other, dict):
        for key in sorted(summary.keys() | other.keys()):
            name = f"{where}.{key}" if where else key
            if key not in summary or key not in other:
                yield f"{name}: only in the {'other' if key in other else 'first'}"
            elif key not in TIMES:
                yield from differences(summary[key], other[key], name)
    elif isinstance(summary, list) and isinstance(other, list) and len(summary) == len(other):
        for at, (one, another) in enumerate(zip(summary, other, strict=True)):
            yield from differences(one, another, f"{where}[{_name(one, at)}]")
    elif type(summary) is not type(other) or summary != other:
        yield f"{where}: {_shown(summary)}, the other has {_shown(other)}"


def _name(one: Any, at: int) -> Any:
    """Runs by their names, all else by its place."""
    return one.get("run", at) if isinstance(one, dict) else at


def _shown(value: Any) -> str:
    return f"{len(value)} entries" if isinstance(value, list | dict) else repr(value)
