"""The report as files: summary.json, tables as CSV, figures as SVG, and the page that shows them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bld.files import write_json
from bld.reporting.figures import draw_figures
from bld.reporting.information_figure import draw_information
from bld.reporting.inputs import RunInputs
from bld.reporting.page import render_page
from bld.reporting.tables import read_tables
from bld.reporting.teacher_bytes import (
    CacheInputs,
    audit_table,
    information_table,
    read_teacher_bytes,
)

RUN_TABLES = ("runs", "comparison", "bits_per_byte", "loss")


def build_report(
    runs: Sequence[RunInputs], caches: Sequence[CacheInputs], title: str, output: Path
) -> None:
    """Write the report on `runs`, and on the byte caches that they learn from, into the folder
    `output`, or nothing where part of it fails.

    Makes index.html, summary.json, {runs,comparison,loss,bits_per_byte}.csv and
    {loss,bits_per_byte,bits_per_byte_by_kind}.svg; where there is a cache, also {audit,information}.csv
    and information.svg. Raises ValueError where runs cannot be compared: documents that differ, or
    twin runs.
    """
    tables = read_tables(runs)
    teachers = [read_teacher_bytes(cache) for cache in caches]
    drawings = draw_figures(tables)
    frames = {name: getattr(tables, name) for name in RUN_TABLES}
    if teachers:
        drawings["information"] = draw_information(teachers)
        frames |= {"audit": audit_table(teachers), "information": information_table(teachers)}
    files = {"index.html": render_page(title, tables, teachers, drawings, list(frames))}
    files |= {f"{name}.svg": drawing.svg for name, drawing in drawings.items()}
    for name, frame in frames.items():
        files[f"{name}.csv"] = frame.to_csv(index=False, lineterminator="\n")

    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "summary.json", tables.summary())
    for name, text in files.items():
        _write_text(output / name, text)


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
