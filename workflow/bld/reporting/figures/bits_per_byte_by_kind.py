"""Bits per byte of every model by kind of document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bld.reporting.plotting import (
    SETTING,
    Drawn,
    Frames,
    Palette,
    by_setting,
    dots,
    legend,
    stacked,
)
from bld.reporting.registry import Figure
from bld.reporting.style import RULE
from bld.reporting.words import ALL, UNTRAINED

if TYPE_CHECKING:
    import pandas as pd


def draw(frames: Frames, palette: Palette) -> Drawn:
    """A panel for each student and corpus, with the teachers of the corpus in each."""
    table = frames["bits_per_byte"]
    scores = table[table["kind"] != ALL]
    lanes = sorted(dict.fromkeys(scores["series"]), key=lambda series: series == UNTRAINED)
    offsets = {series: 0.7 * ((lane + 0.5) / len(lanes) - 0.5) for lane, series in enumerate(lanes)}
    groups = {
        setting: (
            rows,
            list(rows.groupby("kind")["bytes"].max().sort_values(ascending=False).index),
        )
        for setting, rows in by_setting(_with_teachers(scores)).items()
    }
    figure, axes = stacked({x: 0.6 * len(lanes) * len(kinds) for x, (_, kinds) in groups.items()})
    for (setting, (rows, kinds)), ax in zip(groups.items(), axes, strict=True):
        places = [kinds.index(row.kind) + offsets[row.series] for row in rows.itertuples()]
        dots(ax, rows, "bits_per_byte", places, palette)
        ax.set_xlabel("bits per byte")
        ax.set_yticks(range(len(kinds)), kinds)
        ax.set_ylim(len(kinds) - 0.5, -0.5)
        for border in range(1, len(kinds)):
            ax.axhline(border - 0.5, color=RULE, linewidth=0.8)
        ax.set_title(setting)
    legend(figure, lanes, palette, "dot")
    values = "; ".join(
        f"{kind}: " + ", ".join(f"{row.model} {row.bits_per_byte:.3f}" for row in rows.itertuples())
        for kind, rows in scores.groupby("kind")
    )
    return figure, f"Bits per byte by kind of document. {values}."


def _with_teachers(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores in which the teachers of a corpus stand beside each of its students."""
    import pandas as pd

    is_teacher = scores["student"].isna()
    teachers = scores[is_teacher].drop(columns="student")
    students = scores.loc[~is_teacher, SETTING].drop_duplicates()
    beside = teachers.merge(students, "left", on="corpus").fillna({"student": ""})
    return pd.concat([beside[scores.columns], scores[~is_teacher]])


FIGURE = Figure(
    title="Bits per byte by kind of document",
    caption=(
        "Bits per byte by kind of document, the kind with most bytes first. Each student has a "
        "panel. Within a kind each method has its own line, which its seeds share. Bars are 95 % "
        "bootstrap intervals over groups of documents of the kind."
    ),
    section="models",
    tables=["bits_per_byte"],
    draw=draw,
)
