"""Numbers as people read them, each with the place in a CSV file that it comes from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

NO_VALUE = "\u2013"


def number(value: float | None, digits: int = 3) -> str:
    """A number with thin spaces between thousands; a dash where there is none."""
    if value is None or math.isnan(value):
        return NO_VALUE
    # What rounds to zero has no sign.
    rounded = round(value, digits) + 0.0
    return f"{rounded:,.{digits}f}".replace(",", "\u2009").replace("-", "\u2212")


def signed(value: float | None, digits: int = 3) -> str:
    """A change: always with its sign."""
    sign = "+" if value is not None and round(value, digits) > 0 else ""
    return sign + number(value, digits)


def percent(share: float | None, digits: int = 1) -> str:
    """A share of one, in per cent."""
    return NO_VALUE if share is None else f"{number(100 * share, digits)}\u00a0%"


def precision(*values: float) -> int:
    """Decimals that keep the smallest of the values apart from zero, and all from each other: three to
    six."""
    sizes = [abs(value) for value in values if value and not math.isnan(value)]
    tenth = (max(values) - min(values)) / 10
    if tenth > 1e-6:
        sizes.append(tenth)
    return min(6, max(3, -math.floor(math.log10(min(sizes, default=1)))))


def listed(items: Sequence[object]) -> str:
    """a, b and c."""
    texts = [str(item) for item in items]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


class Source:
    """Numbers from frames that are also written as CSV: whoever reads the page can go and look."""

    def __init__(self, frames: Mapping[str, pd.DataFrame]) -> None:
        self.frames = frames

    def __call__(
        self, table: str, row: int, column: str, show: Callable[[float], str] = number
    ) -> Markup:
        """The number in a cell as `show` writes it, in an element that names file, row and column and
        holds all of its digits; a dash where there is none."""
        value: Any = self.frames[table].at[row, column]
        if value is None or pd.isna(value):
            return Markup(NO_VALUE)
        shown = Markup(
            '<data value="{}" data-csv="{}.csv" data-row="{}" data-column="{}">{}</data>'
        )
        return shown.format(repr(float(value)), table, row, column, show(float(value)))

    def interval(
        self, table: str, row: int, show: Callable[[float], str], between: str = " to "
    ) -> Markup:
        """The bounds `low` and `high` of a row."""
        if pd.isna(self.frames[table].at[row, "low"]):
            return Markup("unknown from one document")
        bounds = (self(table, row, bound, show) for bound in ("low", "high"))
        return Markup(between).join(bounds)

    def rows(self, table: str, **wanted: Any) -> list[int]:
        """The rows in which columns have these values."""
        frame = self.frames[table]
        chosen = pd.Series(True, index=frame.index)
        for column, value in wanted.items():
            chosen &= frame[column] == value
        return list(frame.index[chosen])
