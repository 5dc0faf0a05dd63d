"""What all figures share: a drawing with its description, dots with intervals, panels and the legend."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bld.reporting.inputs import REFERENCES, TEACHER, UNTRAINED
from bld.reporting.style import CARD, WIDTH, label

ROLES = {TEACHER: " (teacher)", UNTRAINED: " (untrained)"}
ROW = 0.27
"""Height of one line of a dot plot, in inches."""


class Drawing(NamedTuple):
    """An SVG file's text, the description that it carries for those who cannot see it, and the CSV
    files with its data."""

    svg: str
    description: str
    data: Sequence[str]


def stacked(rows: dict[str, float]) -> tuple[Figure, list[Axes]]:
    """A figure with one panel above the other, as high as they have rows."""
    heights = [max(2, count) for count in rows.values()]
    figure = Figure(figsize=(WIDTH, ROW * sum(heights) + 0.7 * len(heights) + 0.2))
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)
    return figure, list(axes.flat)


def panels(count: int, height: float = 2.15) -> tuple[Figure, list[Axes]]:
    """A figure of panels in two columns."""
    columns = min(2, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(WIDTH, height * rows + 0.3))
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[count:]:
        ax.set_axis_off()
    return figure, axes[:count]


def dots(
    ax: Axes, rows: pd.DataFrame, value: str, places: Iterable[float], palette: dict[str, str]
) -> None:
    """A dot for the value of each row, with the line of its interval (columns low and high)."""
    for place, row in zip(places, rows.itertuples(), strict=True):
        colour, face = palette[row.series], _face(row.series, palette)
        ax.plot([row.low, row.high], [place, place], color=colour, linewidth=1.6, alpha=0.45)
        ax.plot(getattr(row, value), place, "o", color=colour, markerfacecolor=face, markersize=5.5)
    ax.grid(axis="x")
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)


def values_at_the_right(ax: Axes, texts: Iterable[str]) -> None:
    """What each row of a dot plot says, in a column of its own."""
    for place, text in enumerate(texts):
        ax.annotate(
            text,
            (1, place),
            xycoords=("axes fraction", "data"),
            xytext=(34, 0),
            textcoords="offset points",
            ha="right",
            va="center",
        )


def legend(figure: Figure, series: Sequence[str], palette: dict[str, str], **look: Any) -> None:
    """The colours of the series, above the panels."""
    handles = [
        Line2D(
            [],
            [],
            color=palette[one],
            markerfacecolor=_face(one, palette),
            label=label(one),
            **look,
        )
        for one in series
    ]
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=min(3, len(handles)),
        handlelength=1.2,
        handletextpad=0.5,
        borderpad=0.2,
    )


def _face(series: str, palette: dict[str, str]) -> str:
    """Hollow dots for the models that no method trained."""
    return CARD if series in REFERENCES else palette[series]
