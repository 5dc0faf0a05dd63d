"""Calibration: how often the most probable byte is right, by the probability that it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bld.reporting.plotting import (
    SETTING,
    Drawn,
    Frames,
    Palette,
    by_setting,
    legend,
    lines,
    panels,
    teacher_series,
    uncrowded,
)
from bld.reporting.registry import Figure
from bld.reporting.series import label
from bld.reporting.style import MUTED, RULE
from bld.reporting.words import TEACHER

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def draw(frames: Frames, palette: Palette) -> Drawn:
    """Accuracy by confidence, and the gap between the two, for each student and corpus."""
    import pandas as pd

    table = frames["calibration"]
    of_students = table[table["of"] == "student"]
    of_teacher = table[table["of"] == TEACHER].drop_duplicates([*SETTING, "teacher", "low"])
    both = pd.concat(
        [
            uncrowded(of_students, ["low"], ["confidence", "accuracy"], "model"),
            of_teacher.assign(series=teacher_series(of_teacher["teacher"])),
        ]
    ).assign(gap=lambda x: x["accuracy"] - x["confidence"])
    settings = by_setting(both)
    figure, axes = panels(2 * len(settings), height=2.7)
    for (setting, rows), left, right in zip(settings.items(), axes[::2], axes[1::2], strict=True):
        left.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        right.axhline(0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        _draw_panel(left, rows, "accuracy", palette)
        left.set(ylabel="accuracy", title=f"Reliability\n{setting}".strip())
        _draw_panel(right, rows, "gap", palette)
        right.set(ylabel="accuracy minus confidence", title=f"Gap\n{setting}".strip())
    series = list(dict.fromkeys(both["series"]))
    legend(figure, series, palette, "marked line")
    names = ", ".join(label(name) for name in series)
    return (
        figure,
        f"Reliability over bytes of {names}: accuracy by confidence, and the gap between them.",
    )


def _draw_panel(ax: Axes, rows: pd.DataFrame, column: str, palette: Palette) -> None:
    from matplotlib.ticker import PercentFormatter

    lines(ax, rows, "confidence", column, "model", palette, is_marked=True, linewidth=1.4)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_xlabel("confidence")
    ax.grid(color=RULE)


FIGURE = Figure(
    title="Calibration",
    caption=(
        "Bytes are grouped by the probability that a model gives to its most probable next byte "
        "(its confidence). Left, how often that byte is right (accuracy): on the line, a model is "
        "perfectly calibrated. Right, accuracy minus confidence: below zero a model is "
        "overconfident. Students and corpora have panels of their own; with more than five "
        "methods, each is the mean over its runs there."
    ),
    section="bytes",
    tables=["calibration"],
    draw=draw,
    when=lambda reported: reported.has_divergence,
)
