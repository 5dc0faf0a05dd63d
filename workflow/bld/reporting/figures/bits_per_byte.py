"""Bits per byte of every model, fewest first."""

from __future__ import annotations

from bld.reporting.plotting import Drawn, Frames, Palette, dots, named, ranked_axis, stacked
from bld.reporting.registry import Figure
from bld.reporting.words import ALL


def draw(frames: Frames, palette: Palette) -> Drawn:
    """A panel for each corpus."""
    table = frames["bits_per_byte"]
    scores = table[table["kind"] == ALL].sort_values("bits_per_byte", kind="stable")
    corpora = dict(list(scores.groupby("corpus")))
    figure, axes = stacked({corpus: len(rows) for corpus, rows in corpora.items()})
    for (corpus, rows), ax in zip(corpora.items(), axes, strict=True):
        dots(ax, rows, "bits_per_byte", range(len(rows)), palette)
        ranked_axis(ax, named(rows), (f"{value:.3f}" for value in rows["bits_per_byte"]))
        ax.set_xlabel("bits per byte")
        if len(corpora) > 1:
            ax.set_title(corpus)
    values = "; ".join(f"{row.model} {row.bits_per_byte:.3f}" for row in scores.itertuples())
    return figure, f"Bits per byte, fewest first: {values}."


FIGURE = Figure(
    title="Bits per byte",
    caption=(
        "Bits per byte on the held-out documents for the teacher, the student before training, and "
        "every run; fewer are better. Bars are 95 % bootstrap intervals over groups of documents "
        "for each model by itself. All models are evaluated on the same documents, so models whose "
        "bars overlap may still differ: the comparison with SFT pairs the documents."
    ),
    section="models",
    tables=["bits_per_byte"],
    draw=draw,
)
