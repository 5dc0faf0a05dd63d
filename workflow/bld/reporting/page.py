"""The page: one self-contained HTML file that shows tables and figures and says what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bld.reporting.alignment import told_alignments
from bld.reporting.glance import answers
from bld.reporting.notes import notes
from bld.reporting.plotting import Drawing
from bld.reporting.shown import shown_tables
from bld.reporting.source import Source
from bld.reporting.style import themed
from bld.reporting.tables import Tables
from bld.reporting.teacher_bytes import TeacherBytes, Told
from bld.reporting.texts import completions, passages


def render_page(
    title: str,
    tables: Tables,
    teachers: Sequence[TeacherBytes],
    missing: Sequence[Path],
    figures: Mapping[str, Any],
    drawings: Mapping[str, Drawing],
) -> str:
    """The whole page as HTML text; every name that comes from a user is escaped.

    `missing` are files of caches that are not there; `figures` have a title and a caption.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    source = Source(tables.frames)
    found = notes(tables, teachers, missing)
    return environment.get_template("page.html.j2").render(
        title=title,
        runs=tables.runs,
        answers=answers(tables, source, len(found)),
        notes=found,
        tables=shown_tables(tables, source),
        alignments=told_alignments(source),
        caches=[Told(one, row, source) for row, one in enumerate(teachers)],
        completions=completions(source),
        passages=passages(source),
        figures=figures,
        drawings={
            name: drawing._replace(svg=Markup(themed(drawing.svg)))
            for name, drawing in drawings.items()
        },
        data=[name for name, frame in tables.frames.items() if len(frame)],
    )
