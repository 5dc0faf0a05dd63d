"""The report as files: summary.json, tables as CSV, figures as SVG, and the page that shows them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bld.files import write_json
from bld.reporting.figures import draw_figures
from bld.reporting.inputs import RunInputs
from bld.reporting.page import render_page
from bld.reporting.tables import read_tables


def build_report(runs: Sequence[RunInputs], title: str, output: Path) -> None:
    """Write the report on `runs` into the folder `output`, or nothing where part of it fails.

    Makes index.html, summary.json, {runs,comparison,loss,bits_per_byte}.csv and
    {loss,bits_per_byte,bits_per_byte_by_kind}.svg. Raises ValueError where runs cannot be compared:
    documents that differ, or twin runs.
    """
    tables = read_tables(runs)
    drawings = draw_figures(tables)
    files = {"index.html": render_page(title, tables, drawings)}
    files |= {f"{name}.svg": drawing.svg for name, drawing in drawings.items()}
    for name in ("runs", "comparison", "loss", "bits_per_byte"):
        files[f"{name}.csv"] = getattr(tables, name).to_csv(index=False, lineterminator="\n")

    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "summary.json", tables.summary())
    for name, text in files.items():
        _write_text(output / name, text)


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
