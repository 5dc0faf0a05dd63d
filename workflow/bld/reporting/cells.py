"""Cells of the page's tables: text, or a number that names its place in a CSV file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup, escape

from bld.reporting.numbers import number
from bld.reporting.source import Source


class Cell(NamedTuple):
    """What stands in a cell, and the value that its column is sorted by."""

    text: Markup
    key: Any
    is_number: bool = True


class Shown(NamedTuple):
    """A table of the page; rows that only serve as a reference are `quiet`."""

    name: str
    title: str
    caption: str
    headings: Sequence[str]
    rows: Sequence[tuple[bool, Sequence[Cell]]]


def number_cell(
    source: Source, table: str, row: int, column: str, show: Callable[[float], str] = number
) -> Cell:
    return Cell(source(table, row, column, show), sort_key(source.frames[table].at[row, column]))


def text_cell(text: object, remark: str = "") -> Cell:
    small = Markup("<small>{}</small>").format(remark) if remark else Markup("")
    return Cell(escape(text) + small, str(text), is_number=False)


def sort_key(value: Any) -> Any:
    return "" if value is None or pd.isna(value) else value
