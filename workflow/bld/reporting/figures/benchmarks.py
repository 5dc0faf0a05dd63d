"""Every benchmark with its models, best first."""

from __future__ import annotations

from bld.reporting.plotting import Drawn, Frames, Palette, dots, named, ranked_axis, stacked
from bld.reporting.registry import Figure
from bld.reporting.words import number

DIRECTION = {True: ", higher is better", False: ", lower is better"}


def draw(frames: Frames, palette: Palette) -> Drawn:
    """A panel for each benchmark, a dot with its interval for each model."""
    table = frames["benchmarks"]
    names = list(dict.fromkeys(table["benchmark"]))
    figure, axes = stacked({name: int((table["benchmark"] == name).sum()) for name in names})
    texts = []
    for name, ax in zip(names, axes, strict=True):
        rows = table[table["benchmark"] == name]
        first = rows.iloc[0]
        rows = rows.sort_values("value", ascending=not first["higher_is_better"], kind="stable")
        dots(ax, rows, "value", range(len(rows)), palette)
        ranked_axis(ax, named(rows), (number(value) for value in rows["value"]))
        ax.set_title(f"{name}: {first['metric']}{DIRECTION.get(first['higher_is_better'], '')}")
        texts.append(f"{name}: " + ", ".join(f"{x.model} {x.value:.3f}" for x in rows.itertuples()))
    return figure, f"Benchmarks, best first, with 95 % intervals. {'. '.join(texts)}."


FIGURE = Figure(
    title="Benchmarks",
    caption=(
        "Every benchmark with its models, best first. Bars are 95 % bootstrap intervals over "
        "groups of questions for each model by itself: questions made from documents are grouped "
        "as those are, and every other one is by itself."
    ),
    section="benchmarks",
    tables=["benchmarks"],
    draw=draw,
    when=lambda reported: bool(reported.benchmarks),
)
