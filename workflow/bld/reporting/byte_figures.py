"""Figures on bytes: how far students are from their teacher, whether they know what they know, and what the teacher's bytes
are worth."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from bld.reporting.inputs import TEACHER
from bld.reporting.numbers import percent
from bld.reporting.plotting import (
    SETTING,
    Frames,
    Palette,
    by_setting,
    legend,
    lines,
    panels,
    uncrowded,
)
from bld.reporting.series import label
from bld.reporting.style import INK, MUTED, PALETTE, RULE, WIDTH
from bld.symbols import HEAD_BYTES

BYTES = PALETTE[2]
LAST = HEAD_BYTES + 1
"""The row that stands for all positions and lengths from here on."""


def divergence(frames: Frames, palette: Palette) -> tuple[Figure, str]:
    """JSD to the teacher by the place of a byte in the student's token, and by kind of document."""
    table = frames["divergence"]
    own = table[table["of"] == "model"]
    kinds = own[own["by"] == "kind"]
    order = list(kinds.groupby("group")["symbols"].max().sort_values(ascending=False).index)
    settings = by_setting(uncrowded(own, ["by", "group"], ["jsd"], "model"))
    figure, axes = panels(2 * len(settings), height=2.7)
    for (where, rows), left, right in zip(settings.items(), axes[::2], axes[1::2], strict=True):
        _by_place(left, rows[rows["by"] == "position"], palette)
        left.set_title(f"By place in the token\n{where}".strip())
        _by_kind(right, rows[rows["by"] == "kind"], order, palette)
        right.set_title(f"By kind of document\n{where}".strip())
    legend(figure, list(dict.fromkeys(own["series"])), palette, "marked line")
    overall = own[own["by"] == "all"]
    values = "; ".join(f"{row.model} {row.jsd:.4f}" for row in overall.itertuples())
    return figure, f"Jensen-Shannon divergence from the teacher in nats, over all bytes: {values}."


def _by_place(ax: Axes, rows: pd.DataFrame, palette: Palette) -> None:
    places = pd.to_numeric(rows["group"], errors="coerce")
    rows = rows.assign(group=places).dropna(subset="group").astype({"group": int})
    lines(ax, rows, "group", "jsd", "model", palette, is_marked=True, linewidth=1.4)
    _finish(ax, sorted(set(rows["group"])))
    ax.set(xlabel="byte of the student\u2019s token", ylabel="JSD, nats")


def _by_kind(ax: Axes, rows: pd.DataFrame, order: Sequence[str], palette: Palette) -> None:
    for row in rows.itertuples():
        look = palette[row.series]
        ax.plot(row.jsd, order.index(row.group), look.marker, color=look.colour, markersize=5)
    ax.set_yticks(range(len(order)), order)
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.set_xlim(left=0)
    ax.set_xlabel("JSD, nats")
    ax.grid(axis="x")
    ax.tick_params(axis="y", length=0)


def reliability(frames: Frames, palette: Palette) -> tuple[Figure, str]:
    """How often the most probable byte comes, against the probability that it was given."""
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
    for (where, rows), left, right in zip(settings.items(), axes[::2], axes[1::2], strict=True):
        left.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        right.axhline(0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        _reliability_panel(left, rows, "accuracy", palette)
        left.set(ylabel="how often it comes", title=f"Reliability\n{where}".strip())
        _reliability_panel(right, rows, "gap", palette)
        right.set(ylabel="more often than it says", title=f"Gap\n{where}".strip())
    legend(figure, list(dict.fromkeys(both["series"])), palette, "marked line")
    names = ", ".join(f"{label(one)}" for one in dict.fromkeys(both["series"]))
    return (
        figure,
        f"Reliability over bytes of {names}: accuracy by confidence, and the gap between them.",
    )


def teacher_series(teachers: pd.Series) -> pd.Series:
    """What teachers are called beside their students: by name where there are several."""
    if teachers.nunique() > 1:
        return TEACHER + ", " + teachers
    return teachers.map(lambda _: TEACHER)


def _reliability_panel(ax: Axes, rows: pd.DataFrame, column: str, palette: Palette) -> None:
    lines(ax, rows, "confidence", column, "model", palette, is_marked=True, linewidth=1.4)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_xlabel("probability that it is given")
    ax.grid(color=RULE)


def audit(frames: Frames, palette: Palette) -> tuple[Figure, str]:
    """How far each cache is from the stricter policy: mean and worst hundredth."""
    table = frames["audit"]
    caches = list(dict.fromkeys(table["cache"]))
    measures = {"jsd": "JSD, nats", "total_variation": "Total variation"}
    figure, axes = panels(2, height=0.9 + 0.45 * len(caches))
    for (measure, title), ax in zip(measures.items(), axes, strict=True):
        for row in table.dropna(subset=f"{measure}_mean").itertuples():
            is_stored = row.distribution == "stored"
            place = caches.index(row.cache) + (0.15 if is_stored else -0.15)
            mean, far = getattr(row, f"{measure}_mean"), getattr(row, f"{measure}_p99")
            colour = PALETTE[1] if is_stored else PALETTE[0]
            ax.plot([mean, far], [place, place], color=colour, linewidth=1.6, alpha=0.45)
            ax.plot(mean, place, "o", color=colour, markersize=5.5, label="_")
            ax.plot(far, place, "|", color=colour, markersize=8)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.set_title(title)
        ax.set_yticks(range(len(caches)), caches if ax is axes[0] else [""] * len(caches))
        ax.set_ylim(len(caches) - 0.5, -0.5)
        ax.grid(axis="x")
        ax.tick_params(axis="y", length=0)
    for name, colour in (("histories dropped", PALETTE[0]), ("and stored", PALETTE[1])):
        axes[0].plot([], [], "o", color=colour, label=name)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=2, handletextpad=0.3)
    values = "; ".join(
        f"{row.cache}, {row.distribution}: JSD {row.jsd_mean:.5f}"
        for row in table.dropna(subset="jsd_mean").itertuples()
    )
    return figure, f"Distance of caches to the stricter policy, mean and 99th percentile. {values}."


def information(frames: Frames, palette: Palette) -> tuple[Figure, str]:
    """What bytes tell of the teacher's tokens: by position in the token, and by its length."""
    table = frames["information"]
    caches = list(table.groupby("cache", sort=False))
    figure = Figure(figsize=(WIDTH, 2.45 * len(caches)))
    texts = []
    for row, (name, found) in zip(
        figure.subplots(len(caches), 2, squeeze=False), caches, strict=True
    ):
        by_position, by_length = (found[found["by"] == by] for by in ("position", "length"))
        _known(row[0], by_position)
        _by_length(row[1], by_length)
        if len(caches) > 1:
            row[0].set_title(name)
        last = by_position.iloc[-1]
        texts.append(
            f"{name}: the first byte has {percent(by_position.iloc[0]['known'])} of the entropy of the token, "
            f"all bytes {percent(last['known'])}"
        )
    return figure, f"Entropy of bytes against that of tokens. {'. '.join(texts)}."


def _known(ax: Axes, rows: pd.DataFrame) -> None:
    ax.axhline(1, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    ax.plot(rows["bytes"], rows["known"], "o-", color=BYTES, markersize=4)
    ax.set_ylim(0, max(1.08, 1.05 * rows["known"].max()))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlabel="bytes of the token", ylabel="of the token\u2019s entropy")
    _finish(ax, list(rows["bytes"]))


def _by_length(ax: Axes, rows: pd.DataFrame) -> None:
    for column, text, colour in (("token_bits", "token", INK), ("byte_bits", "its bytes", BYTES)):
        ax.plot(rows["bytes"], rows[column], "o-", color=colour, markersize=4, label=text)
    ax.set_ylim(0, 1.3 * rows[["token_bits", "byte_bits"]].max().max())
    ax.set(xlabel="length of the token in bytes", ylabel="bits")
    ax.legend(loc="upper left", handlelength=1.2, borderpad=0.2)
    _finish(ax, list(rows["bytes"]))


def _finish(ax: Axes, places: Sequence[int]) -> None:
    odd = [place for place in places if place % 2]
    ax.set_xticks(odd, [f"{LAST}+" if place == LAST else str(place) for place in odd])
    ax.grid(axis="y", color=RULE)
    ax.margins(x=0.04)
