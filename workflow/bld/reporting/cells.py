"""Tables of the page as columns of cells: text, or numbers that name their place in a CSV file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup, escape

from bld.reporting.words import NO_VALUE, number, percent

Show = Callable[[float], str]
"""Writes a number for people."""
INTEGER, ONE, TWO, FOUR, FIVE = (partial(number, digits=digits) for digits in (0, 1, 2, 4, 5))
PERCENT_2 = partial(percent, digits=2)
Row = Any
"""A row of a frame, as `itertuples` gives it."""


class Cell(NamedTuple):
    """What stands in a cell, and the value that its column is sorted by."""

    text: Markup
    key: Any
    is_number: bool = True


Column = Callable[[Row], Cell]


class PageTable(NamedTuple):
    """A table of the page; rows that only serve as a reference are `quiet`. `name` is that of its
    CSV file, `section` one of the page."""

    name: str
    section: str
    title: str
    caption: str
    headings: Sequence[str]
    rows: Sequence[tuple[bool, Sequence[Cell]]]


class Cells:
    """Cells for the rows of one table, which is also written as CSV: whoever reads a number on the
    page can look up its file, row and column, with all of its digits."""

    def __init__(self, frames: Mapping[str, pd.DataFrame], table: str) -> None:
        self.table, self.frame = table, frames[table]

    def traced(self, row: int, column: str, show: Show = number) -> Markup:
        """The number in a cell of the table as `show` writes it; a dash where there is none."""
        value = self.frame.at[row, column]
        if pd.isna(value):
            return Markup(NO_VALUE)
        element = '<data value="{}" data-csv="{}.csv" data-row="{}" data-column="{}">{}</data>'
        written = repr(float(value)), self.table, row, column, show(float(value))
        return Markup(element).format(*written)

    def cell(self, row: int, column: str, show: Show = number, remark: object = "") -> Cell:
        """A number, with a remark in small below."""
        text = self.traced(row, column, show) + _small(remark)
        return Cell(text, sort_key(self.frame.at[row, column]))

    def column(
        self, name: str, show: Show = number, remark: Callable[[Row], object] = lambda row: ""
    ) -> Column:
        """A column of numbers."""
        return lambda row: self.cell(row.Index, name, show, remark(row))

    def also(self, name: str, show: Show, text: str) -> Callable[[Row], Markup]:
        """A remark: another number of the row, in a text."""
        return lambda row: Markup(text).format(self.traced(row.Index, name, show))

    def interval(
        self, row: int, show: Show = number, bounds: tuple[str, str] = ("low", "high")
    ) -> Markup:
        """The bounds of a row; those of very few groups of documents are not known."""
        if pd.isna(self.frame.at[row, bounds[0]]):
            return Markup("unknown from so few groups")
        return Markup(" to ").join(self.traced(row, bound, show) for bound in bounds)

    def page_table(
        self,
        section: str,
        title: str,
        caption: str,
        columns: Mapping[str, Column],
        rows: Iterable[Row] | None = None,
        is_quiet: Callable[[Row], bool] = lambda row: False,
    ) -> PageTable:
        """The table of these columns, by heading, with these rows or all."""
        shown = [
            (is_quiet(row), [column(row) for column in columns.values()])
            for row in (self.frame.itertuples() if rows is None else rows)
        ]
        return PageTable(self.table, section, title, caption, list(columns), shown)


def text_column(
    text: Callable[[Row], object], remark: Callable[[Row], object] = lambda row: ""
) -> Column:
    """A column of texts."""
    return lambda row: text_cell(text(row), remark(row))


def text_cell(text: object, remark: object = "") -> Cell:
    """Text, with a remark in small below."""
    return Cell(escape(text) + _small(remark), str(text), is_number=False)


def _small(remark: object) -> Markup:
    return Markup("<small>{}</small>").format(remark) if remark else Markup("")


def sort_key(value: Any) -> Any:
    """The value by which a cell is sorted; nothing where there is none."""
    return "" if value is None or pd.isna(value) else value
