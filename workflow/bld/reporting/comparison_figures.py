"""Figures that hold methods side by side: differences from SFT, benchmarks, and costs."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from bld.reporting.comparison import BASELINE, BITS
from bld.reporting.drawing import ROLES, dots, legend, panels, stacked, values_at_the_right
from bld.reporting.numbers import number, signed
from bld.reporting.style import MUTED, label

Frames = Mapping[str, pd.DataFrame]
COSTS = {
    "train_seconds": ("Training, seconds", 1.0),
    "tokens_per_second": ("Tokens per second", 1.0),
    "peak_memory_bytes": ("Memory, GiB", 2.0**30),
    "head_parameters": ("Head, 1,000 weights", 1e3),
}


def comparison(frames: Frames, palette: dict[str, str]) -> tuple[Figure, str] | None:
    """Differences from SFT in bits per byte, with intervals around them; none where there are none."""
    table = frames["comparison"]
    rows = table[(table["against"] == BASELINE) & (table["metric"] == BITS)]
    if rows.empty:
        return None
    rows = rows.sort_values("difference", kind="stable")
    figure, (ax,) = stacked({"all": len(rows)})
    several = rows["student"].nunique() > 1
    dots(ax, rows, "difference", range(len(rows)), palette)
    ax.axvline(0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    names = [label(row.series) + f"\n{row.student}" * several for row in rows.itertuples()]
    ax.set_yticks(range(len(rows)), names)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("bits per byte less those of SFT")
    ax.locator_params(axis="x", nbins=5)
    values_at_the_right(ax, (signed(value) for value in rows["difference"]))
    values = "; ".join(
        f"{label(row.series)} on {row.student} {row.difference:+.4f} ({row.low:+.4f} to {row.high:+.4f})"
        for row in rows.itertuples()
    )
    return figure, f"Difference from SFT in bits per byte with 95 % intervals: {values}."


def benchmarks(frames: Frames, palette: dict[str, str]) -> tuple[Figure, str]:
    """Every benchmark in a panel of its own, every model a dot with its interval."""
    table = frames["benchmarks"]
    names = list(dict.fromkeys(table["benchmark"]))
    figure, axes = stacked({name: int((table["benchmark"] == name).sum()) for name in names})
    texts = []
    for name, ax in zip(names, axes, strict=True):
        rows = table[table["benchmark"] == name]
        first = rows.iloc[0]
        rows = rows.sort_values("value", ascending=not first["higher_is_better"], kind="stable")
        dots(ax, rows, "value", range(len(rows)), palette)
        ax.set_yticks(range(len(rows)), rows["model"] + rows["series"].map(ROLES).fillna(""))
        ax.set_ylim(len(rows) - 0.4, -0.6)
        better = {True: ", higher is better", False: ", lower is better"}
        ax.set_title(f"{name}: {first['metric']}{better.get(first['higher_is_better'], '')}")
        values_at_the_right(ax, (number(value) for value in rows["value"]))
        texts.append(f"{name}: " + ", ".join(f"{x.model} {x.value:.3f}" for x in rows.itertuples()))
    return figure, f"Benchmarks, best first, with 95 % intervals. {'. '.join(texts)}."


def costs(frames: Frames, palette: dict[str, str]) -> tuple[Figure, str] | None:
    """What each training took, a bar for each run; none where no run has been trained."""
    table = frames["costs"]
    shown = {name: about for name, about in COSTS.items() if table[name].fillna(0).any()}
    if table["gpu_hours"].fillna(0).any():
        shown["gpu_hours"] = ("GPU-hours", 1.0)
    if not shown:
        return None
    figure, axes = panels(len(shown), height=0.7 + 0.2 * len(table))
    for number_of_panel, ((name, (title, unit)), ax) in enumerate(
        zip(shown.items(), axes, strict=True)
    ):
        values = table[name].fillna(0).astype(float) / unit
        colours = [palette[series] for series in table["series"]]
        ax.barh(range(len(table)), values, color=colours, height=0.62)
        runs = table["run"] if number_of_panel % 2 == 0 else [""] * len(table)
        ax.set_yticks(range(len(table)), runs)
        ax.set_ylim(len(table) - 0.5, -0.5)
        ax.set_title(title)
        ax.grid(axis="x")
        ax.tick_params(axis="y", length=0)
        ax.locator_params(axis="x", nbins=4)
    series = list(dict.fromkeys(table["series"]))
    legend(figure, series, palette, linewidth=5)
    values = "; ".join(
        f"{row.run} {number(row.train_seconds, 0)} s, {number(row.tokens_per_second, 0)} tokens per second"
        for row in table.itertuples()
    )
    return figure, f"What trainings took. {values}."
