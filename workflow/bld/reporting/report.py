"""The report as files: summary.json, tables as CSV, figures as SVG, and the page that shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from bld.files import write_json, write_text
from bld.reporting.figures import draw_figures
from bld.reporting.inputs import RunInputs, read_runs
from bld.reporting.page import render_page
from bld.reporting.tables import make_tables
from bld.reporting.teacher_bytes import CacheInputs, cache_tables, read_teacher_bytes


class Figure(NamedTuple):
    """A figure that the report is to have: what stands above and below it."""

    title: str
    caption: str


def build_report(
    runs: Sequence[RunInputs],
    caches: Sequence[CacheInputs],
    figures: Mapping[str, Figure],
    title: str,
    output: Path,
) -> list[Path]:
    """Write the report on `runs`, and on the byte caches that they learn from, into the folder
    `output`, or nothing where part of it fails; returns what was written.

    Makes index.html, summary.json, a CSV file for every table, and an SVG file for each of `figures`
    that there is data for, and removes older ones that there is no data for. Files that are not there are
    told of on the page. Raises ValueError where two runs differ in nothing but their names.
    """
    teachers = [read_teacher_bytes(cache) for cache in caches if not cache.missing]
    missing = [path for cache in caches for path in cache.missing]
    tables = make_tables(read_runs(runs))
    tables = replace(tables, frames={**tables.frames, **cache_tables(teachers)})
    drawings = draw_figures(tables.frames, figures)
    files = {
        "index.html": render_page(title, tables, teachers, missing, figures, drawings),
        **{f"{name}.svg": drawing.svg for name, drawing in drawings.items()},
        **{
            f"{name}.csv": frame.to_csv(index=False, lineterminator="\n")
            for name, frame in tables.frames.items()
        },
    }
    write_json(output / "summary.json", tables.summary())
    for name, text in files.items():
        write_text(output / name, text)
    for name in figures.keys() - drawings.keys():
        (output / f"{name}.svg").unlink(missing_ok=True)
    return [output / name for name in ("summary.json", *files)]
