"""The figures: loss curves, bits per byte by model, and bits per byte by kind of document."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import matplotlib
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bld.reporting.style import CARD, RULE, WIDTH, colours, label, settings, to_svg
from bld.reporting.tables import ALL_KINDS, TEACHER, UNTRAINED, Tables

PANELS = {
    ("pretrain", "token"): "Pretraining: token loss",
    ("warmup", "byte"): "Warm-up: byte loss",
    ("distill", "token"): "Token loss",
    ("distill", "byte"): "Byte loss",
    ("distill", "kl"): "KL to the teacher",
}
ROLES = {TEACHER: " (teacher)", UNTRAINED: " (untrained)"}
ROW = 0.27
"""Height of one line of a dot plot, in inches."""


class Drawing(NamedTuple):
    """An SVG file's text, and the description that it carries for those who cannot see it."""

    svg: str
    description: str


def draw_figures(tables: Tables) -> dict[str, Drawing]:
    """All figures by name: loss, bits_per_byte, bits_per_byte_by_kind."""
    palette = colours([*tables.runs["series"], TEACHER, UNTRAINED])
    drawn = {}
    with matplotlib.rc_context(settings()):
        for name, draw in (
            ("loss", _loss),
            ("bits_per_byte", _bits_per_byte),
            ("bits_per_byte_by_kind", _bits_per_byte_by_kind),
        ):
            figure, description = draw(tables, palette)
            drawn[name] = Drawing(to_svg(figure, name, description), description)
    return drawn


def _loss(tables: Tables, palette: dict[str, str]) -> tuple[Figure, str]:
    by_panel = dict(list(tables.loss.groupby(["phase", "part"])))
    panels = [panel for panel in PANELS if panel in by_panel]
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(WIDTH, 2.15 * rows + 0.3))
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for panel, ax in zip(panels, axes, strict=False):
        _loss_panel(ax, by_panel[panel], palette)
        ax.set(title=PANELS[panel], xlabel="step", ylabel="nats")
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    methods = list(dict.fromkeys(tables.runs["series"]))
    _legend(figure, methods, palette, linewidth=2.5)
    names = ", ".join(f"{row.run} ({label(row.series)})" for row in tables.runs.itertuples())
    titles = "; ".join(PANELS[panel] for panel in panels)
    return figure, f"Loss by training step of {names}. Panels: {titles}."


def _loss_panel(ax: Axes, curves: pd.DataFrame, palette: dict[str, str]) -> None:
    for column, width, opacity in (("loss", 0.7, 0.28), ("running_mean", 1.8, 1.0)):
        sns.lineplot(
            curves,
            x="step",
            y=column,
            hue="series",
            units="run",
            estimator=None,
            palette=palette,
            linewidth=width,
            alpha=opacity,
            legend=False,
            ax=ax,
        )
    ax.grid(axis="y")
    ax.margins(x=0.01)
    ax.locator_params(axis="y", nbins=5)


def _bits_per_byte(tables: Tables, palette: dict[str, str]) -> tuple[Figure, str]:
    overall = tables.bits_per_byte["kind"] == ALL_KINDS
    scores = tables.bits_per_byte[overall].sort_values("bits_per_byte", kind="stable")
    corpora = dict(list(scores.groupby("corpus")))
    figure, axes = _stacked({corpus: len(rows) for corpus, rows in corpora.items()})
    for (corpus, rows), ax in zip(corpora.items(), axes, strict=True):
        _dots(ax, rows, range(len(rows)), palette)
        ax.set_yticks(range(len(rows)), rows["model"] + rows["series"].map(ROLES).fillna(""))
        ax.set_ylim(len(rows) - 0.4, -0.6)
        for place, value in enumerate(rows["bits_per_byte"]):
            ax.annotate(
                f"{value:.3f}",
                (1, place),
                xycoords=("axes fraction", "data"),
                xytext=(30, 0),
                textcoords="offset points",
                ha="right",
                va="center",
            )
        if len(corpora) > 1:
            ax.set_title(corpus)
    values = "; ".join(f"{row.model} {row.bits_per_byte:.3f}" for row in scores.itertuples())
    return figure, f"Bits per byte, fewest first: {values}."


def _bits_per_byte_by_kind(tables: Tables, palette: dict[str, str]) -> tuple[Figure, str]:
    scores = tables.bits_per_byte[tables.bits_per_byte["kind"] != ALL_KINDS]
    lanes = sorted(dict.fromkeys(scores["series"]), key=lambda series: series == UNTRAINED)
    offsets = {series: 0.7 * ((lane + 0.5) / len(lanes) - 0.5) for lane, series in enumerate(lanes)}
    groups = {
        group: list(rows.groupby("kind")["bytes"].max().sort_values(ascending=False).index)
        for group, rows in scores.groupby("corpus")
    }
    figure, axes = _stacked({one: 0.6 * len(lanes) * len(kinds) for one, kinds in groups.items()})
    for (corpus, kinds), ax in zip(groups.items(), axes, strict=True):
        rows = scores[scores["corpus"] == corpus]
        places = [kinds.index(row.kind) + offsets[row.series] for row in rows.itertuples()]
        _dots(ax, rows, places, palette)
        ax.set_yticks(range(len(kinds)), kinds)
        ax.set_ylim(len(kinds) - 0.5, -0.5)
        for border in range(1, len(kinds)):
            ax.axhline(border - 0.5, color=RULE, linewidth=0.8)
        if len(groups) > 1:
            ax.set_title(corpus)
    _legend(figure, lanes, palette, marker="o", linestyle="")
    values = "; ".join(
        f"{kind}: " + ", ".join(f"{row.model} {row.bits_per_byte:.3f}" for row in rows.itertuples())
        for kind, rows in scores.groupby("kind")
    )
    return figure, f"Bits per byte by kind of document. {values}."


def _stacked(rows: dict[str, float]) -> tuple[Figure, list[Axes]]:
    heights = [max(2, count) for count in rows.values()]
    figure = Figure(figsize=(WIDTH, ROW * sum(heights) + 0.7 * len(heights) + 0.2))
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)
    return figure, list(axes.flat)


def _dots(ax: Axes, rows: pd.DataFrame, places: Iterable[float], palette: dict[str, str]) -> None:
    for place, row in zip(places, rows.itertuples(), strict=True):
        colour, face = palette[row.series], _face(row.series, palette)
        ax.plot([row.low, row.high], [place, place], color=colour, linewidth=1.6, alpha=0.45)
        ax.plot(row.bits_per_byte, place, "o", color=colour, markerfacecolor=face, markersize=5.5)
    ax.set(xlabel="bits per byte")
    ax.grid(axis="x")
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)


def _legend(figure: Figure, series: list[str], palette: dict[str, str], **look: Any) -> None:
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
    return CARD if series in ROLES else palette[series]
