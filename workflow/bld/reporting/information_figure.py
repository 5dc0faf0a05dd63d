"""The figure on what bytes tell of the teacher's tokens: by position in the token, and by its length."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from bld.reporting.figures import Drawing
from bld.reporting.style import INK, MUTED, PALETTE, RULE, WIDTH, settings, to_svg
from bld.reporting.teacher_bytes import TeacherBytes
from bld.reporting.wording import number, percent

BYTES = PALETTE[2]
LAST = 11
"""The row that stands for all positions and lengths from here on."""


def draw_information(caches: Sequence[TeacherBytes]) -> Drawing:
    """One row of panels for each cache."""
    with matplotlib.rc_context(settings()):
        figure = Figure(figsize=(WIDTH, 2.45 * len(caches)))
        for row, one in zip(figure.subplots(len(caches), 2, squeeze=False), caches, strict=True):
            _known(row[0], one)
            _by_length(row[1], one)
            if len(caches) > 1:
                row[0].set_title(one.name)
        text = f"Entropy of bytes against that of tokens. {' '.join(map(_described, caches))}"
        return Drawing(to_svg(figure, "information", text), text)


def _known(ax: Axes, one: TeacherBytes) -> None:
    rows = one.information["by_position"]
    positions = [row["position"] for row in rows]
    ax.axhline(1, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    ax.plot(positions, [row["known"] for row in rows], "o-", color=BYTES, markersize=4)
    ax.set_ylim(0, max(1.08, 1.05 * max(row["known"] for row in rows)))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlabel="bytes of the token", ylabel="of the token's entropy")
    _finish(ax, positions)


def _by_length(ax: Axes, one: TeacherBytes) -> None:
    rows = one.information["by_length"]
    lengths = [row["length"] for row in rows]
    for column, text, colour in (("token_bits", "token", INK), ("byte_bits", "its bytes", BYTES)):
        ax.plot(
            lengths, [row[column] for row in rows], "o-", color=colour, markersize=4, label=text
        )
    ax.set_ylim(0, 1.3 * max(max(row["token_bits"], row["byte_bits"]) for row in rows))
    ax.set(xlabel="length of the token in bytes", ylabel="bits")
    ax.legend(loc="upper left", handlelength=1.2, borderpad=0.2)
    _finish(ax, lengths)


def _finish(ax: Axes, places: Sequence[int]) -> None:
    odd = [place for place in places if place % 2]
    ax.set_xticks(odd, [f"{LAST}+" if place == LAST else str(place) for place in odd])
    ax.set_xlim(0.5, max(places) + 0.5)
    ax.grid(axis="y", color=RULE)


def _described(one: TeacherBytes) -> str:
    known = ", ".join(
        f"{percent(row['known'])} after {row['position']}" for row in one.information["by_position"]
    )
    lengths = ", ".join(
        f"{number(row['byte_bits'], 2)} of {number(row['token_bits'], 2)} at {row['length']}"
        for row in one.information["by_length"]
    )
    return (
        f"{one.name}: share of the token's entropy by number of bytes: {known}. Bits in the bytes "
        f"and in the token by length: {lengths}."
    )
