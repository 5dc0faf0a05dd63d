"""Distance of the students' byte distributions to those of their teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bld.reporting.plotting import (
    Drawn,
    Frames,
    Palette,
    by_setting,
    legend,
    lines,
    panels,
    place_ticks,
    uncrowded,
)
from bld.reporting.registry import Figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def draw(frames: Frames, palette: Palette) -> Drawn:
    """By place of a byte in the student's token, and by kind of document."""
    table = frames["divergence"]
    own = table[table["of"] == "model"]
    kinds = own[own["by"] == "kind"]
    order = list(kinds.groupby("group")["symbols"].max().sort_values(ascending=False).index)
    settings = by_setting(uncrowded(own, ["by", "group"], ["jsd"], "model"))
    figure, axes = panels(2 * len(settings), height=2.7)
    for (setting, rows), left, right in zip(settings.items(), axes[::2], axes[1::2], strict=True):
        _draw_places(left, rows[rows["by"] == "position"], palette)
        left.set_title(f"By place in the token\n{setting}".strip())
        _draw_kinds(right, rows[rows["by"] == "kind"], order, palette)
        right.set_title(f"By kind of document\n{setting}".strip())
    legend(figure, list(dict.fromkeys(own["series"])), palette, "marked line")
    overall = own[own["by"] == "all"]
    values = "; ".join(f"{row.model} {row.jsd:.4f}" for row in overall.itertuples())
    return figure, f"Jensen-Shannon divergence from the teacher in nats, over all bytes: {values}."


def _draw_places(ax: Axes, rows: pd.DataFrame, palette: Palette) -> None:
    import pandas as pd

    places = pd.to_numeric(rows["group"], errors="coerce")
    rows = rows.assign(group=places).dropna(subset="group").astype({"group": int})
    lines(ax, rows, "group", "jsd", "model", palette, is_marked=True, linewidth=1.4)
    place_ticks(ax, sorted(set(rows["group"])))
    ax.set(xlabel="byte of the student\u2019s token", ylabel="JSD, nats")


def _draw_kinds(ax: Axes, rows: pd.DataFrame, order: Sequence[str], palette: Palette) -> None:
    for row in rows.itertuples():
        style = palette[row.series]
        ax.plot(row.jsd, order.index(row.group), style.marker, color=style.colour, markersize=5)
    ax.set_yticks(range(len(order)), order)
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.set_xlim(left=0)
    ax.set_xlabel("JSD, nats")
    ax.grid(axis="x")
    ax.tick_params(axis="y", length=0)


FIGURE = Figure(
    title="Distance to the teacher",
    caption=(
        "Jensen\u2013Shannon divergence between the byte distributions of teacher and student, "
        "both summed from tokens in the same way. Left, by the place of the byte inside the "
        "student's token, where 11+ stands for all from the eleventh on; right, by kind of "
        "document. Nearer to zero is nearer to the teacher. Students and corpora have panels of "
        "their own; with more than five methods, each is the mean over its runs there."
    ),
    section="bytes",
    tables=["divergence"],
    draw=draw,
    when=lambda reported: reported.has_divergence,
)
