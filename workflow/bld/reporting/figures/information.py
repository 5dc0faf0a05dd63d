"""Entropy of the teacher's bytes against that of its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bld.config.method import PALETTE
from bld.reporting.plotting import Drawn, Frames, Palette, pairs, place_ticks
from bld.reporting.registry import Figure
from bld.reporting.style import INK, MUTED
from bld.reporting.words import percent

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

BYTES = PALETTE[2]


def draw(frames: Frames, palette: Palette) -> Drawn:
    """By position in the token, and by its length, a row of panels for each cache."""
    table = frames["information"]
    caches = list(table.groupby("cache", sort=False))
    figure, rows = pairs(len(caches))
    texts = []
    for (left, right), (name, of_cache) in zip(rows, caches, strict=True):
        by_position, by_length = (of_cache[of_cache["by"] == by] for by in ("position", "length"))
        _draw_known(left, by_position)
        _draw_lengths(right, by_length)
        if len(caches) > 1:
            left.set_title(name)
        texts.append(
            f"{name}: the first byte has {percent(by_position.iloc[0]['known'])} of the entropy of "
            f"the token, all bytes {percent(by_position.iloc[-1]['known'])}"
        )
    return figure, f"Entropy of bytes against that of tokens. {'. '.join(texts)}."


def _draw_known(ax: Axes, rows: pd.DataFrame) -> None:
    from matplotlib.ticker import PercentFormatter

    ax.axhline(1, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    ax.plot(rows["bytes"], rows["known"], "o-", color=BYTES, markersize=4)
    ax.set_ylim(0, max(1.08, 1.05 * rows["known"].max()))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlabel="bytes of the token", ylabel="of the token\u2019s entropy")
    place_ticks(ax, list(rows["bytes"]))


def _draw_lengths(ax: Axes, rows: pd.DataFrame) -> None:
    for column, text, colour in (("token_bits", "token", INK), ("byte_bits", "its bytes", BYTES)):
        ax.plot(rows["bytes"], rows[column], "o-", color=colour, markersize=4, label=text)
    ax.set_ylim(0, 1.3 * rows[["token_bits", "byte_bits"]].max().max())
    ax.set(xlabel="length of the token in bytes", ylabel="bits")
    ax.legend(loc="upper left", handlelength=1.2, borderpad=0.2)
    place_ticks(ax, list(rows["bytes"]))


FIGURE = Figure(
    title="Information in bytes",
    caption=(
        "Left, the entropy of the teacher's byte distributions along a token, summed up to its "
        "first, second, ... byte, as a fraction of the entropy of the token distribution before "
        "it: targets for the first byte alone stop at the first dot. Right, both entropies by the "
        "length of the token. Over whole texts that the teacher writes itself the two would differ "
        "only by the entropy of the segmentation given the text. Token by token they differ "
        "because bytes do not say where a token ends, and because the entropy of a token is taken "
        "before its length is known: the bytes of short tokens have less, those of long ones more."
    ),
    section="teacher-bytes",
    tables=["information"],
    draw=draw,
    when=lambda reported: "information" in reported.cache_measures,
)
