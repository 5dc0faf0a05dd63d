"""What all figures share: a drawing with its description, dots with intervals, panels and the legend."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bld.reporting.inputs import REFERENCES, TEACHER, UNTRAINED
from bld.reporting.series import label
from bld.reporting.style import CARD, WIDTH, Look

Palette = Mapping[str, Look]
"""How each series is drawn."""
Frames = Mapping[str, pd.DataFrame]
ROLES = {TEACHER: " (teacher)", UNTRAINED: " (untrained)"}
SETTING = ["student", "corpus"]
CROWD = 5
"""With more methods than this, a line is the mean over the runs of a method."""
LEGEND, HANDLE = 80, 10
"""Characters that fit into a line of a legend, and how many of them the sign before a label takes."""
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
    ax: Axes, rows: pd.DataFrame, value: str, places: Iterable[float], palette: Palette
) -> None:
    """A dot for the value of each row, with the line of its interval (columns low and high)."""
    for place, row in zip(places, rows.itertuples(), strict=True):
        look = palette[row.series]
        ax.plot([row.low, row.high], [place, place], color=look.colour, linewidth=1.6, alpha=0.45)
        ax.plot(getattr(row, value), place, **_dot(row.series, palette))
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


def lines(
    ax: Axes,
    rows: pd.DataFrame,
    x: str,
    y: str,
    units: str,
    palette: Palette,
    is_marked: bool = False,
    **style: Any,
) -> None:
    """A line for each of `units` in the look of its series; with dots where it is marked."""
    for (series, _), found in rows.groupby(["series", units], sort=False):
        look = palette[str(series)]
        marker = look.marker if is_marked else ""
        ax.plot(
            *(found[x], found[y]),
            color=look.colour,
            linestyle=look.dashes,
            marker=marker,
            markersize=4,
            markeredgewidth=0,
            **style,
        )


def is_crowded(rows: pd.DataFrame) -> bool:
    """Whether there are too many methods for a line for each run."""
    return rows.loc[~rows["series"].isin(REFERENCES), "series"].nunique() > CROWD


def uncrowded(
    rows: pd.DataFrame, by: Sequence[str], values: Sequence[str], units: str
) -> pd.DataFrame:
    """The rows; where there are many methods, the means over the runs of each with a student and corpus."""
    if not is_crowded(rows):
        return rows
    keys = ["series", *SETTING, *by]
    means = rows.groupby(keys, sort=False)[list(values)].mean().reset_index()
    return means.assign(**{units: means["series"]})


def by_setting(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each student and corpus, which have panels of their own, by what these are called;
    by nothing where there is one only."""
    groups = list(rows.groupby(SETTING, sort=False))
    if len(groups) == 1:
        return {"": rows}
    return {f"{student} on {corpus}": found for (student, corpus), found in groups}


def legend(figure: Figure, series: Sequence[str], palette: Palette, kind: str) -> None:
    """The looks of the series, above the panels; `kind` is line, marked line or dot."""
    handles = []
    for one in series:
        look = {"line": {}, "marked line": _dot(one, palette), "dot": _dot(one, palette)}[kind]
        style = {"linestyle": "" if kind == "dot" else palette[one].dashes, "linewidth": 2}
        style |= {"color": palette[one].colour, "label": label(one)}
        handles.append(Line2D([], [], **look | style))
    columns = legend_columns([label(one) for one in series])
    figure.set_figheight(figure.get_figheight() + 0.18 * (math.ceil(len(handles) / columns) - 1))
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns,
        handlelength=1.2 if kind == "dot" else 2.4,
        handletextpad=0.5,
        borderpad=0.2,
        columnspacing=1.2,
    )


def legend_columns(labels: Sequence[str]) -> int:
    """As many columns, up to three, as fit beside each other; matplotlib deals the labels out alike."""
    for columns in range(min(3, len(labels)), 1, -1):
        widths = [max(map(len, part)) for part in np.array_split(labels, columns)]
        if sum(widths) + HANDLE * columns <= LEGEND:
            return columns
    return 1


def _dot(series: str, palette: Palette) -> dict[str, Any]:
    """Hollow for the models that no method trained."""
    look = palette[series]
    face = CARD if series in REFERENCES else look.colour
    return {
        "marker": look.marker,
        "color": look.colour,
        "markerfacecolor": face,
        "markersize": 5.5,
        "linestyle": "",
    }
