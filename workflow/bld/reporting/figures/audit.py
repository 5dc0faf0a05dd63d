"""Distance of the byte caches to a stricter policy."""

from __future__ import annotations

from bld.config.method import PALETTE
from bld.reporting.plotting import Drawn, Frames, Palette, panels
from bld.reporting.registry import Figure

MEASURES = {"jsd": "JSD, nats", "total_variation": "Total variation"}


def draw(frames: Frames, palette: Palette) -> Drawn:
    """Mean and 99th percentile over bytes for each cache, before and after it was stored."""
    from matplotlib.ticker import FuncFormatter

    table = frames["audit"]
    caches = list(dict.fromkeys(table["cache"]))
    figure, axes = panels(2, height=0.9 + 0.45 * len(caches))
    for (measure, title), ax in zip(MEASURES.items(), axes, strict=True):
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


FIGURE = Figure(
    title="Accuracy of the byte caches",
    caption=(
        "Distance between the byte distributions that students learn from and those of a stricter "
        "policy: dots are means over bytes, ticks 99th percentiles. First the effect of dropped "
        "histories, then with that of storing few symbols in few bits."
    ),
    section="teacher-bytes",
    tables=["audit"],
    draw=draw,
    when=lambda reported: "audit" in reported.cache_measures,
)
