"""Do the tables, figures and the page of a report follow from what was measured? It is made again from
the archived results, by the report's own stage, and compared."""

from __future__ import annotations

import operator
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from bld.pipeline.code_digest import PACKAGE, code_modules
from bld.pipeline.step import line_of
from bld.publishing.checks.chain import REPORT_STAGE
from bld.publishing.checks.code import OWN_CODE
from bld.publishing.checks.records import Record, Records
from bld.publishing.findings import Findings, count, some
from bld.publishing.marks import Same, same_but_for_marks
from bld.publishing.reading import Crate

ARITHMETIC = ("numpy", "pandas")
DRAWING = ("matplotlib", "seaborn")
DRAWINGS = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
MISSING = ("ModuleNotFoundError", "ImportError")
NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")


def check_report(crate: Crate, records: Records, findings: Findings) -> None:
    """Every report of the crate comes out the same when it is made again from the results in it."""
    if findings.problems:
        findings.not_checked.append(
            "that the report follows from the results: first the problems above have to be solved"
        )
        return
    for name, record in records.items():
        if record.stage == REPORT_STAGE:
            _check_one(crate, name, record, findings)


def _check_one(crate: Crate, name: str, record: Record, findings: Findings) -> None:
    folder = str(PurePosixPath(name).parent)
    unknown = sorted(set(_read_by(record.step.settings)) - (set(record.inputs) & set(crate.names)))
    if unknown:
        findings.problems.append(
            f"{name}: its settings name {some(unknown)}, which are not among its inputs in the crate"
        )
        return
    with TemporaryDirectory() as working:
        crate.extract([path for path in record.inputs if path in crate], Path(working))
        error = _make_again(record, folder, Path(working))
        made = {path.name: path.read_bytes() for path in (Path(working) / folder).glob("*.*")}
    if error.startswith(MISSING):
        findings.undecided.append(
            f"whether {folder} follows from the results, since it needs more packages to be made again ({error}): "
            "envs/requirements/workflow.txt has them"
        )
        return
    redacted = any(map(crate.is_redacted, (name, *record.inputs, *record.outputs)))
    same = same_but_for_marks if redacted or record.step.redacted else operator.eq
    problems, drawings = _compared(crate, folder, record, made, same)
    is_ours = record.step.code.modules == code_modules(f"bld.stages.{REPORT_STAGE}")
    doubt = f"{name} tells of another version of the code than the one that verifies ({OWN_CODE})"
    findings.conclude(
        [f"{folder}: cannot be made again from the results: {error}"] if error else problems,
        f"{folder}: made again from the archived results, {count(len(record.outputs), 'file')} came out the same: every "
        "number in tables and on the page" + ("" if drawings else ", every drawing"),
        [] if is_ours else [doubt],
    )
    if drawings and not problems:
        findings.not_checked.append(
            f"the drawings of {folder} ({some(drawings)}): drawn by {_versions(record, DRAWING)}, other versions than "
            "here; their data are the CSV files of the same names, which agree"
        )


def _make_again(record: Record, folder: str, working: Path) -> str:
    """Run the stage on what is archived; its last words where it fails."""
    line = line_of(record.step.code.digest, record.step.settings)
    done = subprocess.run(
        [sys.executable, "-m", f"bld.stages.{REPORT_STAGE}", "--step", line, "--report", folder],
        cwd=working,
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent), "MPLBACKEND": "svg"},
        capture_output=True,
        text=True,
        errors="replace",
    )
    return (done.stderr.strip().splitlines() or ["failed"])[-1] if done.returncode else ""


def _compared(
    crate: Crate, folder: str, record: Record, made: Mapping[str, bytes], same: Same
) -> tuple[list[str], list[str]]:
    """What differs, and which drawings cannot be compared."""
    expected = {PurePosixPath(path).name: path for path in record.outputs}
    problems = [
        f"{folder}/{name}: the results give no such file" for name in expected.keys() - made.keys()
    ]
    problems += [
        f"{folder}/{name}: missing; the results give it" for name in made.keys() - expected.keys()
    ]
    is_exact = _is_same(record, ARITHMETIC)
    drawings = []
    for name, path in sorted(expected.items()):
        if name not in made or made[name] == crate.read(path):
            continue
        here, there = (
            raw.decode(errors="backslashreplace") for raw in (made[name], crate.read(path))
        )
        if name.endswith((".svg", ".html")) and not _is_same(record, DRAWING + ARITHMETIC):
            here, there = (DRAWINGS.sub("", text) for text in (here, there))
            drawings.append(name)
        if not is_exact:
            here, there = (NUMBER.sub(_rounded, text) for text in (here, there))
        if difference := _first_difference(here, there, same):
            problems.append(f"{path}: does not follow from the results: {difference}")
    return sorted(problems), drawings


def _read_by(settings: Any) -> list[str]:
    """The files that the settings of a report name."""
    if isinstance(settings, dict):
        own = settings.get("files")
        named = [str(path) for path in own.values()] if isinstance(own, dict) else []
        return named + [path for value in settings.values() for path in _read_by(value)]
    if isinstance(settings, list):
        return [path for value in settings for path in _read_by(value)]
    return []


def _first_difference(here: str, there: str, same: Same) -> str:
    """The first line that is another in the crate than when made again; empty if there is none."""
    lines, others = there.splitlines(keepends=True), here.splitlines(keepends=True)
    for at, pair in enumerate(zip(lines, others, strict=False), 1):
        if not same(*pair):
            unequal = (at for at, (a, b) in enumerate(zip(*pair, strict=False)) if a != b)
            start = max(0, next(unequal, 0) - 30)
            told, again = (line[start : start + 60].strip() for line in pair)
            return f"line {at} has \u2026{told}\u2026, made again \u2026{again}\u2026"
    if len(lines) == len(others):
        return ""
    return f"{len(lines)} lines, {len(others)} when made again"


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.8g}"


def _is_same(record: Record, packages: tuple[str, ...]) -> bool:
    """Whether these packages are here in the versions in which they made the report."""
    return all(record.environment.packages.get(name) == _version(name) for name in packages)


def _versions(record: Record, packages: tuple[str, ...]) -> str:
    known = record.environment.packages
    return " and ".join(f"{name} {known.get(name, '(unknown version)')}" for name in packages)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
