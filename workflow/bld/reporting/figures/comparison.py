"""Differences of the methods from SFT in bits per byte."""

from __future__ import annotations

from bld.reporting.plotting import Drawn, Frames, Palette, dots, ranked_axis, stacked
from bld.reporting.registry import Figure, Reported
from bld.reporting.series import label
from bld.reporting.style import MUTED
from bld.reporting.words import BASELINE, BITS, signed


def draw(frames: Frames, palette: Palette) -> Drawn | None:
    """Paired differences with their intervals; None where nothing was compared with SFT."""
    table = frames["comparison"]
    rows = table[(table["against"] == BASELINE) & (table["metric"] == BITS)]
    if rows.empty:
        return None
    rows = rows.sort_values("difference", kind="stable")
    figure, (ax,) = stacked({"all": len(rows)})
    has_several = rows["student"].nunique() > 1
    dots(ax, rows, "difference", range(len(rows)), palette)
    ax.axvline(0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    names = [label(row.series) + f"\n{row.student}" * has_several for row in rows.itertuples()]
    ranked_axis(ax, names, (signed(value) for value in rows["difference"]))
    ax.set_xlabel("bits per byte minus those of SFT")
    ax.locator_params(axis="x", nbins=5)
    values = "; ".join(
        f"{label(row.series)} on {row.student} {row.difference:+.4f} "
        f"({row.low:+.4f} to {row.high:+.4f})"
        for row in rows.itertuples()
    )
    return figure, f"Difference from SFT in bits per byte with 95 % intervals: {values}."


def _are_compared(reported: Reported) -> bool:
    """Whether an SFT run and another share student, corpus and seed."""
    settings: dict[bool, set[tuple[str, str, int]]] = {True: set(), False: set()}
    for run in reported.runs:
        settings[run.method == BASELINE].add((run.student, run.corpus, run.seed))
    return bool(settings[True] & settings[False])


FIGURE = Figure(
    title="Differences from SFT",
    caption=(
        "Each method minus SFT on the same student, documents and seeds: left of the line it needs "
        "fewer bits per byte than SFT. Bars are 95 % intervals of the paired difference, by "
        "resampling the same groups of documents for both models. A bar that crosses the line "
        "shows no difference."
    ),
    section="models",
    tables=["comparison"],
    draw=draw,
    when=_are_compared,
)
