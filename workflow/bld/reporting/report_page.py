"""The report as files: summary.json, tables as CSV, figures as SVG with their captions, and the
page, one self-contained HTML file that shows them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bld.files import write_json, write_text
from bld.reporting.answers import answers
from bld.reporting.cells import PageTable
from bld.reporting.inputs import CacheInputs, RunInputs, read_cache, read_rows, read_runs
from bld.reporting.notes import notes
from bld.reporting.page_tables import page_tables
from bld.reporting.plotting import Drawing, draw_figures
from bld.reporting.registry import SECTIONS, Figure, all_figures
from bld.reporting.series import label
from bld.reporting.style import themed
from bld.reporting.tables import Tables, make_tables
from bld.reporting.words import number

LEVELS = 8
"""Steps of colour of a passage: one for each bit, the last for all that cost more."""


class Shown(NamedTuple):
    """A figure on the page."""

    name: str
    figure: Figure
    svg: Markup


class Passage(NamedTuple):
    """A passage as one model read it: bits per byte over it, and the coloured text."""

    model: str
    series: str
    mean: str
    text: Markup


def build_report(
    runs: Sequence[RunInputs],
    caches: Sequence[CacheInputs],
    figures: Sequence[str],
    title: str,
    output: Path,
    splits: Mapping[str, Path] = MappingProxyType({}),
) -> list[Path]:
    """Write the report on `runs`, and on the byte caches that they learn from, into the folder
    `output`, or nothing where part of it fails; returns what was written. `splits` are the
    manifests of their documents by name.

    Makes index.html, summary.json, a CSV file for every table, the caption of each of `figures`,
    and its SVG file if there is data for it; an older one is removed if there is not. Missing
    inputs are named on the page. Raises ValueError where two runs differ in nothing but their
    names.
    """
    read = [read_cache(cache) for cache in caches if not cache.missing]
    missing = [path for cache in caches for path in cache.missing]
    tables = make_tables(read_runs(runs), read)
    wanted = {name: figure for name, figure in all_figures().items() if name in figures}
    drawings = draw_figures(wanted, tables.frames)
    files = {
        "index.html": render_page(title, tables, read_rows(splits), missing, wanted, drawings),
        **{f"{name}.rst": f"{figure.caption}\n" for name, figure in wanted.items()},
        **{f"{name}.svg": drawing.svg for name, drawing in drawings.items()},
        **{
            f"{name}.csv": frame.to_csv(index=False, lineterminator="\n")
            for name, frame in tables.frames.items()
        },
    }
    write_json(output / "summary.json", tables.summary())
    for name, text in files.items():
        write_text(output / name, text)
    for name in wanted.keys() - drawings.keys():
        (output / f"{name}.svg").unlink(missing_ok=True)
    return [output / name for name in ("summary.json", *files)]


def render_page(
    title: str,
    tables: Tables,
    rows: Mapping[str, dict[str, Any]],
    missing: Sequence[Path],
    figures: Mapping[str, Figure],
    drawings: Mapping[str, Drawing],
) -> str:
    """The whole page as HTML text; every name that comes from a user is escaped.

    `rows` are counts of rows by split; `missing`, files of caches that are not there.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found = notes(tables, rows, missing)
    texts = [tables.frames[name] for name in ("completions", "surprise")]
    contents = section_contents(page_tables(tables), figures, drawings)
    if any(len(frame) for frame in texts):
        contents.setdefault("texts", [])
    return environment.get_template("page.html.j2").render(
        title=title,
        runs=tables.runs,
        answers=answers(tables, len(found)),
        notes=found,
        sections={name: heading for name, heading in SECTIONS.items() if name in contents},
        contents=contents,
        completions=list(texts[0].groupby("prompt", sort=False)),
        passages=passages(texts[1]),
        label=label,
        data=[name for name, frame in tables.frames.items() if len(frame)],
    )


def section_contents(
    tables: Sequence[PageTable], figures: Mapping[str, Figure], drawings: Mapping[str, Drawing]
) -> dict[str, list[PageTable | Shown]]:
    """What stands in each section: its tables, each with the figures that draw it first, then the
    other figures."""
    contents: dict[str, list[PageTable | Shown]] = {}
    shown = [
        Shown(name, figures[name], Markup(themed(drawing.svg)))
        for name, drawing in drawings.items()
    ]
    for table in tables:
        below = [
            x
            for x in shown
            if (x.figure.section, x.figure.tables[0]) == (table.section, table.name)
        ]
        contents.setdefault(table.section, []).extend([table, *below])
        shown = [x for x in shown if x not in below]
    for x in shown:
        contents.setdefault(x.figure.section, []).append(x)
    return contents


def passages(surprise: pd.DataFrame) -> list[Passage]:
    """The passage once for each model; the mean is a dash where a byte has no probability."""
    found = []
    for (model, series, _), rows in surprise.groupby(["model", "series", "document"], sort=False):
        size = len("".join(rows["text"]).encode())
        mean = number(rows["bits"].astype(float).sum(skipna=False) / size, 2)
        spans = (_span(row.text, row.bits) for row in rows.itertuples())
        found.append(Passage(model, label(series), mean, Markup("").join(spans)))
    return found


def _span(text: str, bits: Any) -> Markup:
    if pd.isna(bits):
        return Markup('<i class="s{}" title="no probability">{}</i>').format(LEVELS, text)
    level = min(LEVELS, int(bits))
    if not level:
        return Markup("{}").format(text)
    return Markup('<i class="s{}" title="{} bits">{}</i>').format(level, number(bits, 1), text)
