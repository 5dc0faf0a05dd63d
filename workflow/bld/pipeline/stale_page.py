"""What would be made again, as a table of a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import IO, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

# A job's standard output is a pipe, which has no width of its own.
WIDTH = 120


def print_stale(jobs: Sequence[Mapping[str, Any]], file: IO[str] | None = None) -> None:
    """Print a row for all jobs of a rule (`rule`) that run for the same causes (`own`), with what they are
    of (`of`), and below it how many only follow from them."""
    console = Console(width=WIDTH, file=file, highlight=False, markup=False, emoji=False)
    if not jobs:
        console.print("Nothing is stale.")
        return
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    for column in ("rule", "of", "why"):
        table.add_column(column, overflow="fold")
    rows: dict[tuple[str, ...], list[str]] = {}
    for job in jobs:
        if job["own"]:
            rows.setdefault((job["rule"], *job["own"]), []).append(" ".join(job["of"]))
    for (rule, *causes), names in rows.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        table.add_row(rule, names[0] + more, "\n".join(causes))
    console.print(table)
    following = Counter(job["rule"] for job in jobs if not job["own"])
    if following:
        counted = ", ".join(f"{rule} ({count})" for rule, count in following.items())
        console.print(f"\nFollowing from these: {counted}.")
    console.print(f"\n{len(jobs)} jobs would run.")
