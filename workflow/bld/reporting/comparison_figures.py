"""Figures that hold methods side by side: differences from SFT, benchmarks, and costs."""

from __future__ import annotations

from matplotlib.figure import Figure

from bld.reporting.comparison import BITS
from bld.reporting.numbers import number, signed
from bld.reporting.plotting import (
    ROLES,
    Frames,
    Palette,
    dots,
    panels,
    stacked,
    values_at_the_right,
)
from bld.reporting.series import BASELINE, label
from bld.reporting.style import INK, MUTED

COSTS = {
    "train_seconds": ("Training, seconds", 1.0),
    "tokens_per_second": ("Tokens per second", 1.0),
    "peak_memory_bytes": ("Memory, GiB", 2.0**30),
    "head_parameters": ("Head, 1,000 weights", 1e3),
}


def comparison(frames: Frames, palette: Palette) -> tuple[Figure, str] | None:
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


def benchmarks(frames: Frames, palette: Palette) -> tuple[Figure, str]:
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


def ranks(frames: Frames, palette: Palette) -> tuple[Figure, str]:
    """The mean rank of every method, first ones first, a panel for each student and corpus."""
    fields = list(frames["ranks"].groupby(["student", "corpus", "documents"], sort=False))
    figure, axes = stacked({str(where): len(rows) for where, rows in fields})
    texts = []
    for ((student, corpus, _), rows), ax in zip(fields, axes, strict=True):
        dots(ax, rows, "rank", range(len(rows)), palette)
        ax.axvline((len(rows) + 1) / 2, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        ax.set_yticks(range(len(rows)), [label(one) for one in rows["series"]])
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_xlabel(f"mean rank among {len(rows)}, 1 is best")
        ax.locator_params(axis="x", nbins=6)
        if len(fields) > 1:
            ax.set_title(f"{student} on {corpus}")
        values_at_the_right(ax, (number(value, 2) for value in rows["rank"]))
        texts.append(
            f"{student} on {corpus}: "
            + ", ".join(f"{label(row.series)} {row.rank:.2f}" for row in rows.itertuples())
        )
    return figure, f"Mean ranks over documents and seeds, first ones first. {'; '.join(texts)}."


def costs(frames: Frames, palette: Palette) -> tuple[Figure, str] | None:
    """What trainings took, a bar for the mean of each method and a dot for each run; none where no run
    has been trained."""
    table = frames["costs"]
    shown = {name: about for name, about in COSTS.items() if table[name].fillna(0).any()}
    if table["gpu_hours"].fillna(0).any():
        shown["gpu_hours"] = ("GPU-hours", 1.0)
    if not shown:
        return None
    several = table["student"].nunique() > 1
    groups = list(table.groupby(["series", "student"], sort=False))
    names = [label(series) + f"\n{student}" * several for (series, student), _ in groups]
    figure, axes = panels(len(shown), height=0.7 + 0.2 * (1 + several) * len(groups))
    for place_of_panel, ((name, (title, unit)), ax) in enumerate(
        zip(shown.items(), axes, strict=True)
    ):
        for place, ((series, _), rows) in enumerate(groups):
            values = rows[name].fillna(0).astype(float) / unit
            colour = palette[series].colour
            ax.barh(place, values.mean(), color=colour, height=0.62, alpha=0.75)
            if len(values) > 1:
                ax.plot(values, [place] * len(values), "|", color=INK, markersize=6)
        ax.set_yticks(range(len(groups)), names if place_of_panel % 2 == 0 else [""] * len(groups))
        ax.set_ylim(len(groups) - 0.5, -0.5)
        ax.set_title(title)
        ax.grid(axis="x")
        ax.tick_params(axis="y", length=0)
        ax.locator_params(axis="x", nbins=4)
    values = "; ".join(
        f"{row.run} {number(row.train_seconds, 0)} s, {number(row.tokens_per_second, 0)} tokens per second"
        for row in table.itertuples()
    )
    return figure, f"What trainings took. {values}."
