"""The table of methods: what each reaches, how sure its difference from SFT is, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
from markupsafe import Markup

from bld.reporting.cells import Cell, Shown, number_cell, sort_key, text_cell
from bld.reporting.comparison import BITS
from bld.reporting.numbers import GIBIBYTE, NO_VALUE, number, precision, signed
from bld.reporting.series import label
from bld.reporting.source import Source
from bld.reporting.tables import Tables
from bld.reporting.words import VERDICTS

COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "train_seconds": ("Seconds", lambda x: number(x, 0)),
    "peak_memory_bytes": ("Memory, GiB", lambda x: number(x / GIBIBYTE, 2)),
    "gpu_hours": ("GPU-hours", lambda x: number(x, 2)),
    "tokens_per_second": ("Tokens per second", lambda x: number(x, 0)),
}
DIFFERENCE = ("difference_low", "difference_high")


def method_table(tables: Tables, source: Source) -> Shown:
    """One row for every set of settings."""
    frame = source.frames["methods"]
    students, corpora = tables.several
    is_twin = frame.duplicated(["series", "student", "corpus"], keep=False)
    costs = {name: about for name, about in COSTS.items() if frame[name].fillna(0).any()}
    rows = []
    for row in frame.itertuples():
        at = row.Index
        show = partial(signed, digits=precision(row.difference, *frame.loc[at, list(DIFFERENCE)]))
        cells = [
            text_cell(label(row.series), _setting(row, students, corpora, bool(is_twin[at]))),
            text_cell(row.seeds),
            _with_interval(source, at, BITS, number, ("low", "high")),
            _with_interval(source, at, "difference", show, DIFFERENCE),
            text_cell(VERDICTS[row.verdict]),
            *(_cost(source, at, name, show_cost) for name, (_, show_cost) in costs.items()),
        ]
        rows.append((row.verdict == "baseline", cells))
    return Shown(
        "methods",
        "All methods",
        "Means over the seeds of a method, fewest bits per byte first, with 95\u00a0% intervals over documents; the "
        "difference is the method less SFT on the same documents and seeds, and shown where its interval stays clear of "
        "zero. Costs are means over runs, small figures how many times those of SFT on the same kind of device. "
        "Scoring the teacher ahead of training is not in them.",
        [
            "Method",
            "Seeds",
            "Bits per byte",
            "Less SFT",
            "Verdict",
            *(x for x, _ in costs.values()),
        ],
        rows,
    )


def _setting(row: Any, students: bool, corpora: bool, runs: bool) -> str:
    """The student, the corpus and the runs of a row, as far as they tell it from others."""
    return ", ".join([row.student] * students + [row.corpus] * corpora + [row.models] * runs)


def _with_interval(
    source: Source, row: int, column: str, show: Callable[[float], str], bounds: tuple[str, str]
) -> Cell:
    value = source.frames["methods"].at[row, column]
    if pd.isna(value):
        return Cell(Markup(NO_VALUE), "")
    interval = source.interval("methods", row, show, " to ", bounds)
    text = Markup("{}<small>{}</small>").format(source("methods", row, column, show), interval)
    return Cell(text, sort_key(value))


def _cost(source: Source, row: int, name: str, show: Callable[[float], str]) -> Cell:
    cell = number_cell(source, "methods", row, name, show)
    times = f"{name}_over"
    if pd.isna(source.frames["methods"].at[row, times]):
        return cell
    factor = source("methods", row, times, lambda x: number(x, 2))
    return cell._replace(text=cell.text + Markup("<small>{} \u00d7</small>").format(factor))
