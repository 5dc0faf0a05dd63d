"""All figures, by name; and those of bits per byte and of the training losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from bld.reporting.byte_figures import audit, divergence, information, reliability, teacher_series
from bld.reporting.comparison_figures import benchmarks, comparison, costs, ranks
from bld.reporting.inputs import TEACHER, UNTRAINED
from bld.reporting.plotting import (
    ROLES,
    SETTING,
    Drawing,
    Frames,
    Palette,
    by_setting,
    dots,
    is_crowded,
    legend,
    lines,
    panels,
    stacked,
    uncrowded,
    values_at_the_right,
)
from bld.reporting.rows import ALL
from bld.reporting.series import label
from bld.reporting.style import RULE, looks, settings, to_svg

PANELS = {
    ("pretrain", "token"): "Pretraining: token loss",
    ("warmup", "byte"): "Warm-up: byte loss",
    ("distill", "token"): "Token loss",
    ("distill", "byte"): "Byte loss",
    ("distill", "kl"): "KL to the teacher",
    ("distill", "teacher"): "Loss against the teacher",
    ("distill", "development"): "Bits per byte, development",
}


UNITS = {"development": "bits per byte", "teacher": "unit of the method"}


def draw_figures(frames: Frames, wanted: Iterable[str]) -> dict[str, Drawing]:
    """The wanted figures by name; one that there is no data for is left out."""
    teachers = teacher_series(frames["calibration"]["teacher"].dropna())
    palette = looks([*frames["costs"]["series"], TEACHER, UNTRAINED, *teachers])
    drawn = {}
    with matplotlib.rc_context(settings()):
        for name in wanted:
            draw, data = FIGURES[name]
            if not all(len(frames[table]) for table in data):
                continue
            if found := draw(frames, palette):
                figure, description = found
                drawn[name] = Drawing(to_svg(figure, name, description), description, data)
    return drawn


def loss(frames: Frames, palette: Palette) -> tuple[Figure, str]:
    """Each part of the objective by step."""
    every = frames["loss"].drop_duplicates("run")
    series, has_many = list(dict.fromkeys(every["series"])), is_crowded(every)
    values = ["loss", "running_mean"]
    curves = uncrowded(frames["loss"], ["phase", "part", "step"], values, "run")
    shown = [
        (panel, where, part)
        for panel in PANELS
        for where, rows in by_setting(curves).items()
        if len(part := rows[(rows["phase"] == panel[0]) & (rows["part"] == panel[1])])
    ]
    figure, axes = panels(len(shown))
    for (panel, where, rows), ax in zip(shown, axes, strict=True):
        _loss_panel(ax, rows, palette, has_many)
        title = f"{PANELS[panel]}\n{where}".strip()
        ax.set(title=title, xlabel="step", ylabel=UNITS.get(panel[1], "nats"))
    legend(figure, series, palette, "line")
    names = ", ".join(f"{row.run} ({label(row.series)})" for row in every.itertuples())
    titles = "; ".join(" of ".join(filter(None, (PANELS[panel], x))) for panel, x, _ in shown)
    return figure, f"Loss by training step of {names}. Panels: {titles}."


def _loss_panel(ax: Axes, curves: pd.DataFrame, palette: Palette, has_many: bool) -> None:
    """Steps and their running mean by run; of many methods, whose runs are one, the running mean alone."""
    part = curves["part"].iloc[0]
    is_sparse = part == "development"
    width = 1.3 if has_many else 1.8
    if is_sparse:
        lines(ax, curves, "step", "loss", "run", palette, is_marked=True, linewidth=width)
    else:
        if not has_many:
            lines(ax, curves, "step", "loss", "run", palette, linewidth=0.7, alpha=0.28)
        lines(ax, curves, "step", "running_mean", "run", palette, linewidth=width)
    ax.grid(axis="y")
    ax.margins(x=0.03 if is_sparse else 0.01)
    if part == "teacher" and (curves["loss"] > 0).all():
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        ax.locator_params(axis="y", nbins=5)


def bits_per_byte(frames: Frames, palette: Palette) -> tuple[Figure, str]:
    """Every model, fewest bits first."""
    table = frames["bits_per_byte"]
    scores = table[table["kind"] == ALL].sort_values("bits_per_byte", kind="stable")
    corpora = dict(list(scores.groupby("corpus")))
    figure, axes = stacked({corpus: len(rows) for corpus, rows in corpora.items()})
    for (corpus, rows), ax in zip(corpora.items(), axes, strict=True):
        dots(ax, rows, "bits_per_byte", range(len(rows)), palette)
        ax.set_xlabel("bits per byte")
        ax.set_yticks(range(len(rows)), rows["model"] + rows["series"].map(ROLES).fillna(""))
        ax.set_ylim(len(rows) - 0.4, -0.6)
        values_at_the_right(ax, (f"{value:.3f}" for value in rows["bits_per_byte"]))
        if len(corpora) > 1:
            ax.set_title(corpus)
    values = "; ".join(f"{row.model} {row.bits_per_byte:.3f}" for row in scores.itertuples())
    return figure, f"Bits per byte, fewest first: {values}."


def bits_per_byte_by_kind(frames: Frames, palette: Palette) -> tuple[Figure, str]:
    """Every model, kind of document by kind."""
    table = frames["bits_per_byte"]
    scores = table[table["kind"] != ALL]
    lanes = sorted(dict.fromkeys(scores["series"]), key=lambda series: series == UNTRAINED)
    offsets = {series: 0.7 * ((lane + 0.5) / len(lanes) - 0.5) for lane, series in enumerate(lanes)}
    groups = {
        where: (rows, _kinds(rows)) for where, rows in by_setting(_with_teachers(scores)).items()
    }
    figure, axes = stacked({x: 0.6 * len(lanes) * len(kinds) for x, (_, kinds) in groups.items()})
    for (where, (rows, kinds)), ax in zip(groups.items(), axes, strict=True):
        places = [kinds.index(row.kind) + offsets[row.series] for row in rows.itertuples()]
        dots(ax, rows, "bits_per_byte", places, palette)
        ax.set_xlabel("bits per byte")
        ax.set_yticks(range(len(kinds)), kinds)
        ax.set_ylim(len(kinds) - 0.5, -0.5)
        for border in range(1, len(kinds)):
            ax.axhline(border - 0.5, color=RULE, linewidth=0.8)
        ax.set_title(where)
    legend(figure, lanes, palette, "dot")
    values = "; ".join(
        f"{kind}: " + ", ".join(f"{row.model} {row.bits_per_byte:.3f}" for row in rows.itertuples())
        for kind, rows in scores.groupby("kind")
    )
    return figure, f"Bits per byte by kind of document. {values}."


def _with_teachers(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores in which the teachers of a corpus stand beside each of its students."""
    is_teacher = scores["student"].isna()
    teachers = scores[is_teacher].drop(columns="student")
    students = scores.loc[~is_teacher, SETTING].drop_duplicates()
    beside = teachers.merge(students, "left", on="corpus").fillna({"student": ""})
    return pd.concat([beside[scores.columns], scores[~is_teacher]])


def _kinds(scores: pd.DataFrame) -> list[str]:
    """Kinds of documents, that with most bytes first."""
    return list(scores.groupby("kind")["bytes"].max().sort_values(ascending=False).index)


Draw = Callable[[Frames, Palette], tuple[Figure, str] | None]
FIGURES: Mapping[str, tuple[Draw, Sequence[str]]] = {
    "comparison": (comparison, ["comparison"]),
    "ranks": (ranks, ["ranks"]),
    "bits_per_byte": (bits_per_byte, ["bits_per_byte"]),
    "bits_per_byte_by_kind": (bits_per_byte_by_kind, ["bits_per_byte"]),
    "benchmarks": (benchmarks, ["benchmarks"]),
    "loss": (loss, ["loss"]),
    "divergence": (divergence, ["divergence"]),
    "reliability": (reliability, ["calibration"]),
    "costs": (costs, ["costs"]),
    "information": (information, ["information"]),
    "audit": (audit, ["audit"]),
}
"""By name: how it is drawn, and the tables that it draws."""
