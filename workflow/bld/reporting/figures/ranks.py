"""Mean ranks of the methods over documents."""

from __future__ import annotations

from collections import Counter

from bld.reporting.plotting import Drawn, Frames, Palette, dots, ranked_axis, stacked
from bld.reporting.registry import Figure, Reported
from bld.reporting.series import label
from bld.reporting.style import MUTED
from bld.reporting.words import MIN_RANKED, number


def draw(frames: Frames, palette: Palette) -> Drawn:
    """A panel for each student and corpus, first ranks first."""
    fields = list(frames["ranks"].groupby(["student", "corpus", "documents"], sort=False))
    figure, axes = stacked({str(field): len(rows) for field, rows in fields})
    texts = []
    for ((student, corpus, _), rows), ax in zip(fields, axes, strict=True):
        dots(ax, rows, "rank", range(len(rows)), palette)
        ax.axvline((len(rows) + 1) / 2, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        names = [label(series) for series in rows["series"]]
        ranked_axis(ax, names, (number(value, 2) for value in rows["rank"]))
        ax.set_xlabel(f"mean rank among {len(rows)}, 1 is best")
        ax.locator_params(axis="x", nbins=6)
        if len(fields) > 1:
            ax.set_title(f"{student} on {corpus}")
        texts.append(
            f"{student} on {corpus}: "
            + ", ".join(f"{label(row.series)} {row.rank:.2f}" for row in rows.itertuples())
        )
    return figure, f"Mean ranks over documents and seeds, first ones first. {'; '.join(texts)}."


def _are_ranked(reported: Reported) -> bool:
    """Whether enough methods share student, documents and a seed."""
    fields = Counter(
        (run.student, run.corpus, run.validation_split, run.seed) for run in reported.runs
    )
    return max(fields.values()) >= MIN_RANKED


FIGURE = Figure(
    title="Ranks over documents",
    caption=(
        "Every document and seed ranks the methods by bits per byte, 1 for the fewest; dots are "
        "means of these ranks, and bars 95 % bootstrap intervals over groups of documents. "
        "Only methods that share student, documents and seeds are ranked. The dashed line is where "
        "all methods would be if they were alike. Ranks count how often a method is ahead, not by "
        "how much, and they change where another method is added; whether a method differs from "
        "SFT is said by the comparison with SFT."
    ),
    section="models",
    tables=["ranks"],
    draw=draw,
    when=_are_ranked,
)
