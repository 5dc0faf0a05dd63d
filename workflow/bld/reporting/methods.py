"""Every method by itself: what it reaches over all of its seeds, how far that is from SFT, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from bld.reporting.comparison import BITS, Comparison, judged_seeds, times, variants
from bld.reporting.inputs import Run
from bld.reporting.rows import joined
from bld.reporting.series import BASELINE
from bld.reporting.statistics import Estimate, bits_per_byte

COSTS = ("train_seconds", "peak_memory_bytes", "gpu_hours", "tokens_per_second")
UNKNOWN = Estimate(math.nan, math.nan, math.nan)


def method_rows(runs: Sequence[Run], comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """A row for every set of settings, student by student, fewest bits per byte first.

    Bits per byte and costs are means over its seeds that were judged, over all where none was; the
    difference, and how many times the cost of SFT it costs, are those of the seeds that both have. Where
    SFT has several sets of settings, that with most seeds in common is taken, and of those the best.
    """
    against_baseline = [x for x in comparisons if (x.against, x.metric) == (BASELINE, BITS)]
    by_name = {run.name: run for run in runs}
    rows = [_row(_counted(variant), against_baseline, by_name) for variant in variants(runs)]
    places = {setting: at for at, setting in enumerate(dict.fromkeys(run.setting for run in runs))}
    return sorted(
        rows,
        key=lambda row: (
            places[row["student"], row["corpus"]],
            math.isnan(row[BITS]),
            row[BITS],
        ),
    )


def over_seeds(runs: Iterable[Run]) -> Estimate:
    """Bits per byte of runs of one kind together; NaN where they were judged on different documents,
    or not at all."""
    frames = [run.judged.documents for run in runs if len(run.judged.documents)]
    if not frames or any(not frame["bytes"].equals(frames[0]["bytes"]) for frame in frames):
        return UNKNOWN
    nats = pd.concat([frame["nats"] for frame in frames], axis=1).mean(axis=1)
    return bits_per_byte(nats.to_numpy(), frames[0]["bytes"].to_numpy())


def _counted(variant: dict[int, Run]) -> list[tuple[int, Run]]:
    seeds = judged_seeds(variant) or variant.keys()
    return [(seed, variant[seed]) for seed in sorted(seeds)]


def _row(
    by_seed: Sequence[tuple[int, Run]], compared: Sequence[Comparison], by_name: dict[str, Run]
) -> dict[str, Any]:
    runs = [run for _, run in by_seed]
    names = {run.name for run in runs}
    found = [one for one in compared if one.ours[0].name in names]
    best = max(found, key=lambda one: (len(one.seeds), one.difference.value), default=None)
    level = over_seeds(runs)
    difference = best.difference if best else UNKNOWN
    student, corpus = runs[0].setting
    return {
        "series": runs[0].series,
        "student": student,
        "corpus": corpus,
        "models": joined(run.name for run in runs),
        "seeds": joined(seed for seed, _ in by_seed),
        BITS: level.value,
        "low": level.low,
        "high": level.high,
        "difference": difference.value,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "verdict": best.verdict if best else _without(runs[0]),
        **{cost: _mean(runs, cost) for cost in COSTS},
        **{f"{cost}_over": _times(best, cost, by_name) for cost in COSTS},
    }


def _without(run: Run) -> str:
    return "baseline" if run.series == BASELINE else "not compared"


def _mean(runs: Sequence[Run], cost: str) -> float:
    """Over the runs that noted it."""
    known = [value for run in runs if (value := run.training.get(cost)) is not None]
    return sum(known) / len(known) if known else math.nan


def _times(best: Comparison | None, cost: str, by_name: dict[str, Run]) -> float:
    if best is None:
        return math.nan
    ours, theirs = (
        [by_name[model.name] for model in models] for models in (best.ours, best.theirs)
    )
    return times(ours, theirs, cost)
