"""What all figures share: drawing them by name, dots with intervals, panels and the legend.

Matplotlib is imported where something is drawn, so that figures can be listed without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bld.reporting.series import label
from bld.reporting.style import CARD, RULE, WIDTH, SeriesStyle, settings, styles_of, to_svg
from bld.reporting.words import REFERENCES, TEACHER, UNTRAINED
from bld.symbols import HEAD_BYTES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bld.reporting import registry

Frames = Mapping[str, "pd.DataFrame"]
Drawn = tuple["Figure", str]
"""A figure, and what it shows in words for those who cannot see it."""
Palette = Mapping[str, SeriesStyle]
"""How each series is drawn."""
Draw = Callable[[Frames, Palette], Drawn | None]
ROLES = {TEACHER: " (teacher)", UNTRAINED: " (untrained)"}
SETTING = ["student", "corpus"]
MAX_LINES = 5
"""With more methods than this, a line is the mean over the runs of a method."""
LEGEND, HANDLE = 80, 10
"""Characters that fit into a line of a legend, and how many of them the sign before a label
takes."""
ROW = 0.27
"""Height of one line of a dot plot, in inches."""
LAST_PLACE = HEAD_BYTES + 1
"""The byte of a token that stands for all positions, or lengths, from here on."""


class Drawing(NamedTuple):
    """An SVG file's text, and the description that it carries for those who cannot see it."""

    svg: str
    description: str


def draw_figures(figures: Mapping[str, registry.Figure], frames: Frames) -> dict[str, Drawing]:
    """The figures by name; one that there is no data for is left out."""
    import matplotlib

    teachers = teacher_series(frames["calibration"]["teacher"].dropna())
    palette = styles_of([*frames["costs"]["series"], TEACHER, UNTRAINED, *teachers])
    drawings = {}
    with matplotlib.rc_context(settings()):
        for name, figure in figures.items():
            has_data = all(len(frames[table]) for table in figure.tables)
            if has_data and (drawn := figure.draw(frames, palette)):
                drawings[name] = Drawing(to_svg(drawn[0], name, drawn[1]), drawn[1])
    return drawings


def teacher_series(teachers: pd.Series) -> pd.Series:
    """What teachers are called beside their students: by name where there are several."""
    if teachers.nunique() > 1:
        return TEACHER + ", " + teachers
    return teachers.map(lambda _: TEACHER)


def stacked(rows: dict[str, float]) -> tuple[Figure, list[Axes]]:
    """A figure with one panel above the other, as high as they have rows."""
    from matplotlib.figure import Figure

    heights = [max(2, count) for count in rows.values()]
    figure = Figure(figsize=(WIDTH, ROW * sum(heights) + 0.7 * len(heights) + 0.2))
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)
    return figure, list(axes.flat)


def panels(count: int, height: float = 2.15) -> tuple[Figure, list[Axes]]:
    """A figure of panels in two columns."""
    from matplotlib.figure import Figure

    columns = min(2, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(WIDTH, height * rows + 0.3))
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[count:]:
        ax.set_axis_off()
    return figure, axes[:count]


def pairs(count: int) -> tuple[Figure, list[list[Axes]]]:
    """A figure with rows of two panels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 2.45 * count))
    return figure, [list(row) for row in figure.subplots(count, 2, squeeze=False)]


def named(rows: pd.DataFrame) -> pd.Series:
    """The models of rows, with what they are where no method trained them."""
    return rows["model"] + rows["series"].map(ROLES).fillna("")


def ranked_axis(ax: Axes, names: Iterable[str], values: Iterable[str]) -> None:
    """A dot plot's rows from top to bottom, with their names left and their values right."""
    names = list(names)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    for place, text in enumerate(values):
        ax.annotate(
            text,
            (1, place),
            xycoords=("axes fraction", "data"),
            xytext=(34, 0),
            textcoords="offset points",
            ha="right",
            va="center",
        )


def place_ticks(ax: Axes, places: Sequence[int]) -> None:
    """An x axis of bytes of a token."""
    odd = [place for place in places if place % 2]
    ax.set_xticks(odd, [f"{LAST_PLACE}+" if place == LAST_PLACE else str(place) for place in odd])
    ax.grid(axis="y", color=RULE)
    ax.margins(x=0.04)


def dots(
    ax: Axes, rows: pd.DataFrame, value: str, places: Iterable[float], palette: Palette
) -> None:
    """A dot for the value of each row, with the line of its interval (columns low and high)."""
    for place, row in zip(places, rows.itertuples(), strict=True):
        style = palette[row.series]
        ax.plot([row.low, row.high], [place, place], color=style.colour, linewidth=1.6, alpha=0.45)
        ax.plot(getattr(row, value), place, **_dot(row.series, palette))
    ax.grid(axis="x")
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)


def lines(
    ax: Axes,
    rows: pd.DataFrame,
    x: str,
    y: str,
    units: str,
    palette: Palette,
    is_marked: bool = False,
    **options: Any,
) -> None:
    """A line for each of `units` in the style of its series; with dots where it is marked."""
    for (series, _), line in rows.groupby(["series", units], sort=False):
        style = palette[str(series)]
        marker = style.marker if is_marked else ""
        ax.plot(
            *(line[x], line[y]),
            color=style.colour,
            linestyle=style.dashes,
            marker=marker,
            markersize=4,
            markeredgewidth=0,
            **options,
        )


def is_crowded(rows: pd.DataFrame) -> bool:
    """Whether there are too many methods for a line for each run."""
    return int(rows.loc[~rows["series"].isin(REFERENCES), "series"].nunique()) > MAX_LINES


def uncrowded(
    rows: pd.DataFrame, by: Sequence[str], values: Sequence[str], units: str
) -> pd.DataFrame:
    """The rows; where there are many methods, the means over the runs of each with a student and
    corpus."""
    if not is_crowded(rows):
        return rows
    keys = ["series", *SETTING, *by]
    means = rows.groupby(keys, sort=False)[list(values)].mean().reset_index()
    return means.assign(**{units: means["series"]})


def by_setting(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each student and corpus, which have panels of their own, by what these are
    called; by nothing where there is one only."""
    groups = list(rows.groupby(SETTING, sort=False))
    if len(groups) == 1:
        return {"": rows}
    return {f"{student} on {corpus}": of_setting for (student, corpus), of_setting in groups}


def legend(figure: Figure, series: Sequence[str], palette: Palette, kind: str) -> None:
    """The styles of the series, above the panels; `kind` is line, marked line or dot."""
    from matplotlib.lines import Line2D

    handles = []
    for name in series:
        options = {} if kind == "line" else _dot(name, palette)
        options |= {"linestyle": "" if kind == "dot" else palette[name].dashes, "linewidth": 2}
        options |= {"color": palette[name].colour, "label": label(name)}
        handles.append(Line2D([], [], **options))
    columns = legend_columns([label(name) for name in series])
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
    """As many columns, up to three, as fit beside each other; matplotlib deals the labels out
    alike."""
    import numpy as np

    for columns in range(min(3, len(labels)), 1, -1):
        widths = [max(map(len, part)) for part in np.array_split(labels, columns)]
        if sum(widths) + HANDLE * columns <= LEGEND:
            return columns
    return 1


def _dot(series: str, palette: Palette) -> dict[str, Any]:
    """Hollow for the models that no method trained."""
    style = palette[series]
    face = CARD if series in REFERENCES else style.colour
    return {
        "marker": style.marker,
        "color": style.colour,
        "markerfacecolor": face,
        "markersize": 5.5,
        "linestyle": "",
    }
