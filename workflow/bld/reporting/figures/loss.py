"""Losses by training step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bld.config.registry import losses
from bld.reporting.plotting import (
    Drawn,
    Frames,
    Palette,
    by_setting,
    is_crowded,
    legend,
    lines,
    panels,
    uncrowded,
)
from bld.reporting.registry import Figure
from bld.reporting.series import label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

PARTS = {loss.part: loss for loss in losses().values()}
PANELS = {
    ("pretrain", "token"): "Pretraining: token loss",
    ("warmup", "byte"): "Warm-up: byte loss",
    **{("distill", part): loss.panel for part, loss in PARTS.items()},
    ("distill", "development"): "Bits per byte, development",
}


def draw(frames: Frames, palette: Palette) -> Drawn:
    """A panel for each part of the objective, student and corpus."""
    every = frames["loss"].drop_duplicates("run")
    series, is_mean = list(dict.fromkeys(every["series"])), is_crowded(every)
    values = ["loss", "running_mean"]
    curves = uncrowded(frames["loss"], ["phase", "part", "step"], values, "run")
    drawn = [
        (panel, setting, part)
        for panel in PANELS
        for setting, rows in by_setting(curves).items()
        if len(part := rows[(rows["phase"] == panel[0]) & (rows["part"] == panel[1])])
    ]
    figure, axes = panels(len(drawn))
    for (panel, setting, rows), ax in zip(drawn, axes, strict=True):
        _draw_panel(ax, rows, palette, is_mean)
        title = f"{PANELS[panel]}\n{setting}".strip()
        unit = PARTS[panel[1]].unit if panel[1] in PARTS else "bits per byte"
        ax.set(title=title, xlabel="step", ylabel=unit)
    legend(figure, series, palette, "line")
    names = ", ".join(f"{row.run} ({label(row.series)})" for row in every.itertuples())
    titles = "; ".join(" of ".join(filter(None, (PANELS[panel], x))) for panel, x, _ in drawn)
    return figure, f"Loss by training step of {names}. Panels: {titles}."


def _draw_panel(ax: Axes, curves: pd.DataFrame, palette: Palette, is_mean: bool) -> None:
    """Steps and their running mean by run; of means over runs, the running mean alone."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    part = curves["part"].iloc[0]
    is_sparse = part == "development"
    width = 1.3 if is_mean else 1.8
    if is_sparse:
        lines(ax, curves, "step", "loss", "run", palette, is_marked=True, linewidth=width)
    else:
        if not is_mean:
            lines(ax, curves, "step", "loss", "run", palette, linewidth=0.7, alpha=0.28)
        lines(ax, curves, "step", "running_mean", "run", palette, linewidth=width)
    ax.grid(axis="y")
    ax.margins(x=0.03 if is_sparse else 0.01)
    if not is_sparse and PARTS[part].is_logarithmic and (curves["loss"] > 0).all():
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        ax.locator_params(axis="y", nbins=5)


FIGURE = Figure(
    title="Training losses",
    caption=(
        "Each part of the objective on the training documents, the warm-up of the byte head in a "
        "panel of its own, and bits per byte of the development evaluations. Thin lines are "
        "single steps, strong lines a running mean over a twentieth of them; of more than five "
        "methods only the mean over their runs is drawn. Students and corpora have panels of "
        "their own. Losses against the teacher have the unit of their method: neither they nor "
        "different parts can be compared with each other. Models are compared by bits per byte on "
        "held-out documents."
    ),
    section="training",
    tables=["loss"],
    draw=draw,
)
