"""What would be made again and why: each job of a dry run, its step and its inputs compared with
the record of what is there.

Nothing here decides what runs. Where a record shows no difference, Snakemake's own reason is given.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bld.files import sha256_of
from bld.pipeline.code_digest import code_modules, loaded_modules
from bld.pipeline.record import Record
from bld.privacy import portable_path

# A job's standard output is a pipe, which has no width of its own.
WIDTH = 120
MAX_VALUE, MAX_SETTINGS, DIGITS = 48, 4, 8
ABSENT = "not there"
# What Snakemake says where a job only follows from others, and where the record says it better.
FOLLOWS = "Input files updated by another job"
IN_RECORD = ("Params have changed", "Updated input files", "Set of input files has changed")


class StaleJob(NamedTuple):
    """A job of `rule` for the wildcards `target`, and why it runs; without a cause it follows from
    others."""

    rule: str
    target: str
    causes: tuple[str, ...]


def stale_jobs(dry_run: str) -> list[StaleJob]:
    """The jobs of a dry run with `--printshellcmds`, as Snakemake prints it in the working
    folder."""
    return [
        _job(text)
        for text in re.split(r"\n(?=(?:local)?rule \S+:\n)", dry_run)[1:]
        if "\n    output: " in text
    ]


def _job(text: str) -> StaleJob:
    def field(name: str) -> str:
        match = re.search(rf"^    {name}: (.*)$", text, re.MULTILINE)
        return match[1] if match else ""

    rule = re.match(r"(?:local)?rule (\S+):", text)
    wildcards = [part.partition("=")[2] for part in field("wildcards").split(", ")]
    command = re.search(r"^Shell command: (.*)$", text, re.MULTILINE)
    words = shlex.split(command[1]) if command else []
    causes = _causes(
        field("output").split(", "), field("input").split(", "), words, field("reason")
    )
    return StaleJob(rule[1] if rule else "", " ".join(wildcards), tuple(causes))


def _causes(outputs: list[str], inputs: list[str], words: list[str], reason: str) -> list[str]:
    missing = [path for path in outputs if not Path(path).exists()]
    if len(missing) == len(outputs):
        return ["not made yet"]
    causes = [f"not there: {', '.join(missing[:2])}"] if missing else []
    record = _record(next((path for path in outputs if path.endswith(".record.json")), ""))
    differences = []
    if record and "--step" in words:
        differences = list(_differences(record, words[words.index("--step") + 1], inputs))
    for part in filter(None, reason.split("; ")):
        is_known = part.startswith((FOLLOWS, "Missing output")) or (
            differences and part.startswith(IN_RECORD)
        )
        causes += [] if is_known else [part.partition(": ")[0]]
    return [*differences, *causes]


def _record(path: str) -> Record | None:
    try:
        return Record.model_validate_json(Path(path).read_bytes())
    except (OSError, ValueError):
        return None


def _differences(record: Record, line: str, inputs: Sequence[str]) -> Iterator[str]:
    """Settings, modules and inputs that are others than in the record."""
    step = json.loads(line)
    before, after = dict(_flat(record.step.settings)), dict(_flat(step["settings"]))
    if not record.step.redacted:
        changed = [
            x for x in sorted({*before, *after}) if before.get(x, ABSENT) != after.get(x, ABSENT)
        ]
        for name in changed[:MAX_SETTINGS]:
            yield f"{name}: {_shown(before.get(name, ABSENT))} -> {_shown(after.get(name, ABSENT))}"
        if len(changed) > MAX_SETTINGS:
            yield f"and {len(changed) - MAX_SETTINGS} more settings"
    if record.step.code.digest != step["code"]:
        old = record.step.code.modules
        new = code_modules(f"bld.stages.{record.stage}", loaded=loaded_modules(step["settings"]))
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                file = name.replace(".", "/")
                yield (
                    f"code of workflow/{file}.py: {_short(old.get(name))} -> "
                    f"{_short(new.get(name))}"
                )
    for path in inputs:
        digest = record.inputs.get(portable_path(Path(path)))
        if digest and Path(path).is_file() and (now := sha256_of(path)) != digest:
            yield f"{path}: {_short(digest)} -> {_short(now)}"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting by its full name."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _shown(value: Any) -> str:
    text = value if value is ABSENT else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 3]}..."


def _short(digest: str | None) -> str:
    return digest[:DIGITS] if digest else "none"


def print_stale(jobs: Sequence[StaleJob], file: IO[str] | None = None) -> None:
    """Print a row for all jobs of a rule that run for the same causes, and below it how many only
    follow from them."""
    console = Console(width=WIDTH, file=file, highlight=False, markup=False, emoji=False)
    if not jobs:
        console.print("Nothing is stale.")
        return
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    for column in ("rule", "of", "why"):
        table.add_column(column, overflow="fold")
    rows: dict[tuple[str, ...], list[str]] = {}
    for job in jobs:
        if job.causes:
            rows.setdefault((job.rule, *job.causes), []).append(job.target)
    for (rule, *causes), targets in rows.items():
        more = f" and {len(targets) - 1} more" if len(targets) > 1 else ""
        table.add_row(rule, targets[0] + more, "\n".join(causes))
    console.print(table)
    if following := Counter(job.rule for job in jobs if not job.causes):
        counted = ", ".join(f"{rule} ({count})" for rule, count in following.items())
        console.print(f"\nFollowing from these: {counted}.")
    console.print(f"\n{len(jobs)} jobs would run.")
