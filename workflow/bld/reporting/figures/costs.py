"""Time, memory and parameters of the trainings."""

from __future__ import annotations

from bld.reporting.plotting import Drawn, Frames, Palette, panels
from bld.reporting.registry import Figure
from bld.reporting.series import label
from bld.reporting.style import INK
from bld.reporting.words import GIBIBYTE, number

COSTS = {
    "train_seconds": ("Training, seconds", 1.0),
    "tokens_per_second": ("Tokens per second", 1.0),
    "peak_memory_bytes": ("Memory, GiB", GIBIBYTE),
    "head_parameters": ("Head, 1,000 weights", 1e3),
    "gpu_hours": ("GPU-hours", 1.0),
}
"""Columns of the table with their titles and units."""


def draw(frames: Frames, palette: Palette) -> Drawn | None:
    """A bar for the mean of each method and a tick for each run; None where no run has been
    trained."""
    table = frames["costs"]
    known = {name: about for name, about in COSTS.items() if table[name].fillna(0).any()}
    if not known:
        return None
    has_several = table["student"].nunique() > 1
    groups = list(table.groupby(["series", "student"], sort=False))
    names = [label(series) + f"\n{student}" * has_several for (series, student), _ in groups]
    figure, axes = panels(len(known), height=0.7 + 0.2 * (1 + has_several) * len(groups))
    for panel, ((name, (title, unit)), ax) in enumerate(zip(known.items(), axes, strict=True)):
        for place, ((series, _), rows) in enumerate(groups):
            values = rows[name].fillna(0).astype(float) / unit
            ax.barh(place, values.mean(), color=palette[series].colour, height=0.62, alpha=0.75)
            if len(values) > 1:
                ax.plot(values, [place] * len(values), "|", color=INK, markersize=6)
        ax.set_yticks(range(len(groups)), names if panel % 2 == 0 else [""] * len(groups))
        ax.set_ylim(len(groups) - 0.5, -0.5)
        ax.set_title(title)
        ax.grid(axis="x")
        ax.tick_params(axis="y", length=0)
        ax.locator_params(axis="x", nbins=4)
    values = "; ".join(
        f"{row.run} {number(row.train_seconds, 0)} s, {number(row.tokens_per_second, 0)} tokens "
        "per second"
        for row in table.itertuples()
    )
    return figure, f"Training costs. {values}."


FIGURE = Figure(
    title="Training costs",
    caption=(
        "Costs of training, warm-ups included: a bar for the mean of a method, a tick for each of "
        "its runs; tokens per second are those of the distillation alone. Heads are left behind "
        "when training ends. Scoring the teacher ahead of training is shared by all runs and not "
        "included."
    ),
    section="training",
    tables=["costs"],
    draw=draw,
)
