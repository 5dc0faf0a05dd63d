"""The page: one self-contained HTML file that shows tables and figures and says what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bld.reporting import wording
from bld.reporting.figures import Drawing
from bld.reporting.style import label, themed
from bld.reporting.tables import ALL_KINDS, TEACHER, UNTRAINED, Tables
from bld.reporting.teacher_bytes import TeacherBytes

OWN_TASKS = ("bits_per_byte", "byte_divergence")
"""Tasks with a column of their own in the table of runs."""


def render_page(
    title: str,
    tables: Tables,
    teachers: Sequence[TeacherBytes],
    drawings: Mapping[str, Drawing],
    data: Sequence[str],
) -> str:
    """The whole page as HTML text; every name that comes from a user is escaped.

    `data` are the names of the CSV files beside it.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": wording.number,
        "signed": wording.signed,
        "percent": wording.percent,
        "interval": wording.interval,
        "precision": wording.precision,
        "listed": wording.listed,
        "label": label,
        "flat": _flat,
    }
    overall = tables.bits_per_byte[tables.bits_per_byte["kind"] == ALL_KINDS]
    return environment.get_template("page.html.j2").render(
        title=title,
        answers=wording.answers(tables),
        caveat=wording.caveat(tables),
        references=overall[overall["series"].isin([TEACHER, UNTRAINED])].to_dict("records"),
        runs=tables.inputs,
        comparisons=tables.comparisons,
        teachers=teachers,
        settings=len({(run.inputs.student, run.inputs.corpus) for run in tables.inputs}),
        task_metrics=_task_metrics(tables),
        drawings={name: Markup(themed(drawing.svg)) for name, drawing in drawings.items()},
        data=data,
    )


def _task_metrics(tables: Tables) -> list[tuple[str, str]]:
    """(task, metric) of every evaluation but our own, in the order in which the runs name them."""
    found: dict[tuple[str, str], None] = {}
    for run in tables.summary()["runs"]:
        for task, metrics in run["tasks"].items():
            if task not in OWN_TASKS:
                found |= dict.fromkeys((task, metric) for metric in metrics)
    return list(found)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as (dotted name, value)."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
