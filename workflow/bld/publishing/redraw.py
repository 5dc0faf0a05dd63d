"""Draws a report again from the numbers in a crate, and compares summaries of reports."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from bld.pipeline.code_digest import PACKAGE, code_modules
from bld.pipeline.record import Record
from bld.pipeline.step import files_line, line_of
from bld.publishing.reading import Crate

REPORT_STAGE = "report"
SUMMARY, PAGE = "summary.json", "index.html"
COMPARED = (".json", ".csv")
TIMES = frozenset({"train_seconds", "gpu_hours"})
"""What a summary.json says of the machine and not of the models."""
NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")


class SkippedError(Exception):
    """Why a report cannot be drawn again here, in words."""


def report_problems(crate: Crate, folder: str, record: Record) -> Iterator[str]:
    """Where the tables and the summary of a report differ from those that the stage makes of its
    inputs in the crate. Numbers are compared to eight digits, since other versions of packages
    round otherwise.

    Raises SkippedError if this code is another than that which made the report, or lacks a package.
    """
    if record.step.code.modules != code_modules(f"bld.stages.{REPORT_STAGE}"):
        raise SkippedError(
            "it was made by another version of the code; verify with that of the crate"
        )
    with TemporaryDirectory() as working:
        inputs = [path for path in record.inputs if path in crate.files]
        crate.extract(inputs, Path(working))
        line = line_of(record.step.code.digest, record.step.settings)
        stage = f"bld.stages.{REPORT_STAGE}"
        files = files_line({}, {"page": f"{folder}/{PAGE}"})
        done = subprocess.run(
            [sys.executable, "-m", stage, "--step", line, "--files", files],
            cwd=working,
            env=os.environ | {"PYTHONPATH": str(PACKAGE.parent), "MPLBACKEND": "svg"},
            capture_output=True,
            text=True,
            errors="replace",
        )
        made = {
            x.name: x.read_text("utf-8") for x in Path(working, folder).glob("*") if _is_compared(x)
        }
    if done.returncode:
        [*_, error] = done.stderr.strip().splitlines() or ["failed"]
        if error.startswith(("ModuleNotFoundError", "ImportError")):
            raise SkippedError(f"{error}; envs/requirements/workflow.txt has what is needed")
        yield f"{folder}: cannot be drawn again from the results: {error}"
        return
    expected = {PurePosixPath(x).name: x for x in record.outputs if _is_compared(PurePosixPath(x))}
    for name in sorted(expected.keys() ^ made.keys()):
        yield f"{folder}/{name}: {'missing; ' * (name in made)}the results give " + (
            "it" if name in made else "no such file"
        )
    for name in sorted(expected.keys() & made.keys()):
        here, there = (_rounded(x) for x in (made[name], crate.read(expected[name]).decode()))
        for number, (again, told) in enumerate(zip(here, there, strict=False), 1):
            if again != told:
                yield f"{expected[name]}: line {number} has {told!r}, drawn again {again!r}"
                break
        else:
            if len(here) != len(there):
                yield f"{expected[name]}: {len(there)} lines, {len(here)} when drawn again"


def compare_reports(crate: Crate, summary: Path) -> Iterator[str]:
    """Where a summary.json differs from that of each report in a crate, times apart.

    Raises ValueError if it cannot be read.
    """
    try:
        own = json.loads(summary.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{summary}: expected the summary of a report: {error}") from error
    for name in summaries(crate):
        for text in differences(own, crate.json(name)):
            yield f"{summary} and {name}: {text}"


def summaries(crate: Crate) -> list[str]:
    """The summaries of the reports in a crate."""
    return [name for name in crate.names if PurePosixPath(name).match(f"report/{SUMMARY}")]


def differences(summary: Any, other: Any, where: str = "") -> Iterator[str]:
    """Where two summaries differ, times apart: the place, the first's value, the other's."""
    if isinstance(summary, dict) and isinstance(other, dict):
        for key in sorted(summary.keys() | other.keys()):
            name = f"{where}.{key}" if where else key
            if key not in summary or key not in other:
                yield f"{name}: only in the {'other' if key in other else 'first'}"
            elif key not in TIMES:
                yield from differences(summary[key], other[key], name)
    elif isinstance(summary, list) and isinstance(other, list) and len(summary) == len(other):
        for index, (one, another) in enumerate(zip(summary, other, strict=True)):
            name = one.get("run", index) if isinstance(one, dict) else index
            yield from differences(one, another, f"{where}[{name}]")
    elif type(summary) is not type(other) or summary != other:
        yield f"{where}: {_shown(summary)}, the other has {_shown(other)}"


def _shown(value: Any) -> str:
    return f"{len(value)} entries" if isinstance(value, list | dict) else repr(value)


def _is_compared(path: PurePath) -> bool:
    return path.suffix in COMPARED and not path.name.endswith(".record.json")


def _rounded(text: str) -> list[str]:
    return NUMBER.sub(lambda number: f"{float(number[0]):.8g}", text).splitlines()
