"""Numbers of the page, each with the place in a CSV file that it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from bld.reporting.numbers import NO_VALUE, number


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
        self,
        table: str,
        row: int,
        show: Callable[[float], str],
        between: str = " to ",
        columns: tuple[str, str] = ("low", "high"),
    ) -> Markup:
        """The bounds of a row."""
        if pd.isna(self.frames[table].at[row, columns[0]]):
            return Markup("unknown from one document")
        bounds = (self(table, row, bound, show) for bound in columns)
        return Markup(between).join(bounds)

    def rows(self, table: str, **wanted: Any) -> list[int]:
        """The rows in which columns have these values."""
        frame = self.frames[table]
        chosen = pd.Series(True, index=frame.index)
        for column, value in wanted.items():
            chosen &= frame[column] == value
        return list(frame.index[chosen])
