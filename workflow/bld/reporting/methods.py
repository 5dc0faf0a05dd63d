"""Every method over all of its seeds: its bits per byte, its difference from SFT, its costs, and
its mean rank over documents, which no single hard document can decide.

D documents, M methods.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bld.reporting.comparison import Comparison, evaluated_seeds, times, variants
from bld.reporting.inputs import Run
from bld.reporting.rows import joined
from bld.reporting.statistics import Estimate, bits_per_byte, ratio
from bld.reporting.words import BASELINE, BITS, MIN_RANKED

COSTS = ("train_seconds", "peak_memory_bytes", "gpu_hours", "tokens_per_second")
BySeed = dict[int, Run]
UNKNOWN = Estimate(math.nan, math.nan, math.nan)


def method_rows(runs: Sequence[Run], comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """A row for every set of settings, student by student, fewest bits per byte first.

    Bits per byte and costs are means over its seeds that were evaluated, over all where none was;
    the difference, and how many times the cost of SFT it costs, are those of the seeds that both
    have. Where SFT has several sets of settings, that with most seeds in common is taken, and of
    those the best.
    """
    against_baseline = [x for x in comparisons if (x.against, x.metric) == (BASELINE, BITS)]
    by_name = {run.name: run for run in runs}
    rows = [_method_row(_counted(variant), against_baseline, by_name) for variant in variants(runs)]
    places = {setting: at for at, setting in enumerate(dict.fromkeys(run.setting for run in runs))}
    return sorted(
        rows,
        key=lambda row: (places[row["student"], row["corpus"]], math.isnan(row[BITS]), row[BITS]),
    )


def over_seeds(runs: Iterable[Run]) -> Estimate:
    """Bits per byte of runs of one kind together; NaN where they were evaluated on different
    documents, or not at all."""
    frames = [run.model.documents for run in runs if len(run.model.documents)]
    if not frames or any(not frame["bytes"].equals(frames[0]["bytes"]) for frame in frames):
        return UNKNOWN
    nats = pd.concat([frame["nats"] for frame in frames], axis=1).mean(axis=1)
    return bits_per_byte(nats, frames[0]["bytes"], frames[0]["group"])


def _counted(variant: dict[int, Run]) -> list[tuple[int, Run]]:
    seeds = evaluated_seeds(variant) or variant.keys()
    return [(seed, variant[seed]) for seed in sorted(seeds)]


def _method_row(
    by_seed: Sequence[tuple[int, Run]], compared: Sequence[Comparison], by_name: dict[str, Run]
) -> dict[str, Any]:
    runs = [run for _, run in by_seed]
    names = {run.name for run in runs}
    own = [comparison for comparison in compared if comparison.ours[0].name in names]
    best = max(own, key=lambda x: (len(x.seeds), x.difference.value), default=None)
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


def rank_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The mean rank of every method over documents and seeds, 1 for the fewest bits per byte, ties
    shared; first ranks first.

    Only methods with the same student, corpus, documents and seeds are ranked, and only three or
    more.
    """
    return [row for methods in _fields(variants(runs)) for row in _ranked(*_largest(methods))]


def _fields(variants: Sequence[BySeed]) -> Iterator[list[BySeed]]:
    """Methods that were evaluated on the same documents, with the runs that were."""
    fields: dict[Any, dict[int, BySeed]] = {}
    for number, variant in enumerate(variants):
        for seed, run in variant.items():
            sizes = run.model.documents["bytes"]
            if len(sizes):
                field = fields.setdefault((run.setting, tuple(sizes.items())), {})
                field.setdefault(number, {})[seed] = run
    yield from (list(field.values()) for field in fields.values())


def _largest(methods: Sequence[BySeed]) -> tuple[list[BySeed], list[int]]:
    """The methods that share seeds, and those seeds: as many of both together as there are."""
    shared = []
    for seed in sorted({seed for method in methods for seed in method}):
        having = [method for method in methods if seed in method]
        if len(having) >= MIN_RANKED:
            shared.append((having, sorted(set.intersection(*map(set, having)))))
    return max(shared, key=lambda field: len(field[0]) * len(field[1]), default=([], []))


def _ranked(methods: Sequence[BySeed], seeds: Sequence[int]) -> list[dict[str, Any]]:
    if not methods:
        return []
    ranks_DM = np.mean([_ranks([method[seed] for method in methods]) for seed in seeds], axis=0)
    groups_D = methods[0][seeds[0]].model.documents["group"]
    rows = []
    for method, ranks_D in zip(methods, ranks_DM.T, strict=True):
        rank = ratio(ranks_D, np.ones(len(ranks_D)), groups_D)
        first = method[seeds[0]]
        student, corpus = first.setting
        rows.append(
            {
                "series": first.series,
                "student": student,
                "corpus": corpus,
                "models": joined(method[seed].name for seed in seeds),
                "seeds": joined(seeds),
                "methods": len(methods),
                "documents": len(ranks_D),
                "rank": rank.value,
                "low": rank.low,
                "high": rank.high,
            }
        )
    return sorted(rows, key=lambda row: row["rank"])


def _ranks(runs: Sequence[Run]) -> np.ndarray:
    nats_DM = pd.concat([run.model.documents["nats"] for run in runs], axis=1)
    ranks_DM: np.ndarray = nats_DM.rank(axis=1).to_numpy()
    return ranks_DM
