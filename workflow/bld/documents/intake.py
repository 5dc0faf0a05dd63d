"""What is found while a source is read: how its rows were understood, and which are no documents.

A row that is none is left out and counted, or stops the reading, as the corpus says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from bld.privacy import anonymised

PLACES = 3
"""How many places are told of each reason."""
HOPELESS = 1000
"""Reading stops after this many rows if none of them is a document."""


class RowError(ValueError):
    """A row that is no document: why, in the words that rows of its kind are counted by; where it
    stands; and what was found there."""

    def __init__(self, reason: str, where: str, found: str) -> None:
        super().__init__(f"{where}: {found}")
        self.reason, self.where = reason, where

    def at(self, where: str) -> RowError:
        """The same, told from a wider place."""
        return RowError(self.reason, where, str(self))


@dataclass
class _Reason:
    """Rows that were left out for one reason: how many, and where the first ones stand."""

    rows: int = 0
    first: list[RowError] = field(default_factory=list)


class Intake:
    """Counts rows. `at_most`: the fraction of rows that may be left out."""

    def __init__(self, on_bad_row: Literal["stop", "skip"] = "stop", at_most: float = 1.0) -> None:
        self._skips, self._at_most = on_bad_row == "skip", at_most
        self._rows = 0
        self._read_as: Counter[str] = Counter()
        self._not_read: set[str] = set()
        self._reasons: dict[str, _Reason] = {}

    @property
    def _skipped(self) -> int:
        return sum(reason.rows for reason in self._reasons.values())

    def read(self, how: str | None = None, not_read: Iterable[str] = ()) -> None:
        """Count a row, or another piece of the source, that was read; and note how, and the columns
        of it that were not."""
        self._rows += 1
        if how:
            self._read_as[how] += 1
        self._not_read.update(not_read)

    def skip(self, bad: RowError) -> None:
        """Count a row that cannot be read and is left out; raises as `refuse`."""
        self._rows += 1
        self.refuse(bad)

    def refuse(self, bad: RowError) -> None:
        """Count a row that was read as one that is left out; raises ValueError where that is not
        wanted, or if no row at all is a document."""
        if not self._skips:
            raise ValueError(
                f"{bad}; mend the row, or write `on_bad_row: skip` to leave out and count such rows"
            ) from bad
        reason = self._reasons.setdefault(bad.reason, _Reason())
        reason.rows += 1
        reason.first += [bad] * (len(reason.first) < PLACES)
        if self._skipped == self._rows == HOPELESS:
            raise ValueError(f"none of the first {HOPELESS:,} rows is a document: {self._told()}")

    def manifest(self) -> dict[str, Any]:
        """What a split's manifest tells; nothing of a source without rows. Raises ValueError if
        more rows than allowed were left out."""
        skipped, rows = self._skipped, self._rows
        if skipped > self._at_most * rows:
            raise ValueError(
                f"{skipped:,} of {rows:,} rows are no documents, more than the fraction "
                f"{self._at_most:g} that `at_most` allows: {self._told()}"
            )
        if not (self._read_as or skipped):
            return {}
        reasons = {
            why: {"rows": reason.rows, "first": [anonymised(bad.where) for bad in reason.first]}
            for why, reason in sorted(self._reasons.items())
        }
        return {
            "rows": {
                "rows": rows,
                "read_as": dict(self._read_as),
                "columns_not_read": sorted(self._not_read),
                "skipped": skipped,
                "reasons": reasons,
            }
        }

    def lines(self) -> list[str]:
        """For the log."""
        lines = [f"{rows:,} rows were read as {how}" for how, rows in self._read_as.items()]
        if self._not_read:
            lines.append(f"columns that were not read: {', '.join(sorted(self._not_read))}")
        if self._skipped:
            lines.append(f"{self._skipped:,} rows were left out: {self._told()}")
        return lines

    def _told(self) -> str:
        return "; ".join(
            f"{reason.rows:,} for {why} ({reason.first[0]})"
            for why, reason in sorted(self._reasons.items())
        )
