"""Which method comes first, document by document: mean ranks, which no single hard document can decide.

D documents, M methods.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bld.reporting.comparison import variants
from bld.reporting.inputs import Run
from bld.reporting.rows import joined
from bld.reporting.statistics import ratio
from bld.reporting.words import FEWEST

BySeed = dict[int, Run]


def rank_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The mean rank of every method over documents and seeds, 1 for the fewest bits per byte, ties shared;
    first ranks first.

    Only methods with the same student, corpus, documents and seeds are ranked, and only three or more.
    """
    return [row for methods in _fields(variants(runs)) for row in _rows(*_largest(methods))]


def _fields(found: Sequence[BySeed]) -> Iterator[list[BySeed]]:
    """Methods that were judged on the same documents, with the runs that were."""
    fields: dict[Any, dict[int, BySeed]] = {}
    for number, variant in enumerate(found):
        for seed, run in variant.items():
            sizes = run.judged.documents["bytes"]
            if len(sizes):
                field = fields.setdefault((run.setting, tuple(sizes.items())), {})
                field.setdefault(number, {})[seed] = run
    yield from (list(field.values()) for field in fields.values())


def _largest(methods: Sequence[BySeed]) -> tuple[list[BySeed], list[int]]:
    """The methods that share seeds, and those seeds: as many of both together as there are."""
    shared = []
    for seed in sorted({seed for method in methods for seed in method}):
        having = [method for method in methods if seed in method]
        if len(having) >= FEWEST:
            shared.append((having, sorted(set.intersection(*(set(one) for one in having)))))
    return max(shared, key=lambda found: len(found[0]) * len(found[1]), default=([], []))


def _rows(methods: Sequence[BySeed], seeds: Sequence[int]) -> list[dict[str, Any]]:
    if not methods:
        return []
    ranks_DM = np.mean([_ranks([method[seed] for method in methods]) for seed in seeds], axis=0)
    rows = []
    for method, ranks_D in zip(methods, ranks_DM.T, strict=True):
        rank = ratio(ranks_D, np.ones(len(ranks_D)))
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
    nats_DM = pd.concat([run.judged.documents["nats"] for run in runs], axis=1)
    return nats_DM.rank(axis=1).to_numpy()
