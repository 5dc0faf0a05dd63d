"""Which models may be compared, by which measures, and with what intervals.

Every method is compared with SFT on the same student, corpus and seed, every teacher with its
student before training: by bits per byte, by the divergence from the teacher's bytes and by every
benchmark that both have, document by document.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd

from bld.reporting.inputs import EvaluatedModel, Run, by_document
from bld.reporting.statistics import Estimate, ratio
from bld.reporting.words import BASELINE, BITS, DIVERGENCE, UNTRAINED


class Comparison(NamedTuple):
    """Models of one series less those of another, seed by seed, by one metric; `higher_is_better`
    is None where a benchmark does not say.

    `ours` and `theirs` are the models that are compared, in pairs; `seeds` are those of runs.
    """

    series: str
    against: str
    metric: str
    higher_is_better: bool | None
    student: str
    corpus: str
    seeds: list[int]
    ours: list[EvaluatedModel]
    theirs: list[EvaluatedModel]
    by_seed: list[float]
    difference: Estimate
    seconds_over: float = math.nan
    memory_over: float = math.nan

    @property
    def subject(self) -> tuple[str, str, str, str]:
        """What is compared, whatever with: the series by a metric, of one student on a corpus."""
        return self.series, self.metric, self.student, self.corpus

    @property
    def verdict(self) -> str:
        """better, worse, or not shown: where the interval holds zero, or nobody knows what is
        better."""
        if self.higher_is_better is None or not self.difference.excludes_zero:
            return "not shown"
        return "better" if (self.difference.value > 0) == self.higher_is_better else "worse"


class Paired(NamedTuple):
    """A metric as sums over documents: columns group, total and size, by document id."""

    documents: pd.DataFrame
    higher_is_better: bool | None


def paired(model: EvaluatedModel, metric: str) -> Paired | None:
    """A metric of a model, document by document; none where it was not measured.

    The metric is the sum of totals over the sum of sizes. Raises ValueError if a document comes
    twice.
    """
    if metric == BITS:
        frame = model.documents.rename(columns={"nats": "total", "bytes": "size"})
        frame["total"] /= math.log(2)
        better = False
    elif metric == DIVERGENCE:
        rows = model.result("byte_divergence").get("per_document", [])
        frame = by_document(rows, ["jsd", "symbols"], model.name)
        frame = frame.rename(columns={"jsd": "total", "symbols": "size"})
        better = False
    else:
        result = model.result(metric)
        better = result.get("higher_is_better", True)
        rows = result.get("per_document", [])
        frame = by_document(rows, ["value", "bytes"], model.name)
        in_bits = frame["bytes"].notna().any()
        frame = frame.rename(columns={"value": "total", "bytes": "size"}).fillna({"size": 1})
        frame["total"] /= math.log(2) if in_bits else 1
    return Paired(frame[["group", "total", "size"]], better) if len(frame) else None


class OtherDocumentsError(ValueError):
    """Two models were not evaluated on the same documents."""


def compare(runs: Sequence[Run], incomparable: list[str] | None = None) -> list[Comparison]:
    """Every comparison: teachers with students, then methods with SFT, one set of settings after
    another.

    Raises ValueError where two runs differ in nothing but their names, and OtherDocumentsError;
    with `incomparable` that is written there, and the comparison left out.
    """
    comparisons = []
    for pair in (*_starts(runs), *_against_baselines(runs)):
        for metric in (BITS, DIVERGENCE, *pair.ours[0].benchmarks):
            try:
                comparison = _comparison(pair, metric)
            except OtherDocumentsError as error:
                if incomparable is None:
                    raise
                incomparable.append(str(error))
                continue
            comparisons += [comparison] if comparison else []
    return comparisons


def difference(
    ours: Sequence[EvaluatedModel], theirs: Sequence[EvaluatedModel], metric: str
) -> Estimate | None:
    """The paired difference ours - theirs, averaged over pairs (one pair a seed); None where one of
    them was not evaluated by the metric.

    The groups of documents that the interval draws are the same for all models. Raises
    OtherDocumentsError that names the first document which two of the models do not share.
    """
    frames = [pair.documents for x in (*ours, *theirs) if (pair := paired(x, metric))]
    if len(frames) < len(ours) + len(theirs):
        return None
    for model, frame in zip((*ours, *theirs), frames, strict=True):
        _check_same_documents(ours[0].name, frames[0], model.name, frame)
    gaps = [
        ours_D["total"] - theirs_D["total"]
        for ours_D, theirs_D in zip(frames[: len(ours)], frames[len(ours) :], strict=True)
    ]
    mean_gap = pd.concat(gaps, axis=1).mean(axis=1)
    return ratio(mean_gap, frames[0]["size"], frames[0]["group"])


class _Pair(NamedTuple):
    """Models to compare, those of one series with those of another; `run` is the first of ours."""

    run: Run
    against: str
    ours: list[EvaluatedModel]
    theirs: list[EvaluatedModel]
    seeds: list[int]
    share_teacher: bool
    seconds_over: float = math.nan
    memory_over: float = math.nan


def _starts(runs: Sequence[Run]) -> Iterator[_Pair]:
    seen = set()
    for run in runs:
        key = (run.settings.teacher, *run.setting)
        if run.teacher and key not in seen:
            seen.add(key)
            yield _Pair(run, UNTRAINED, [run.teacher], [run.student], [], share_teacher=False)


def _against_baselines(runs: Sequence[Run]) -> Iterator[_Pair]:
    kinds = variants(runs)
    baselines = [variant for variant in kinds if _first(variant).series == BASELINE]
    for variant in kinds:
        for baseline in baselines:
            seeds = sorted(evaluated_seeds(variant) & evaluated_seeds(baseline))
            is_same = _first(variant).setting == _first(baseline).setting
            if seeds and is_same and variant not in baselines:
                ours = [variant[seed] for seed in seeds]
                theirs = [baseline[seed] for seed in seeds]
                yield _Pair(
                    ours[0],
                    BASELINE,
                    [run.model for run in ours],
                    [run.model for run in theirs],
                    seeds,
                    ours[0].settings.teacher == theirs[0].settings.teacher,
                    times(ours, theirs, "train_seconds"),
                    times(ours, theirs, "peak_memory_bytes"),
                )


def _comparison(pair: _Pair, metric: str) -> Comparison | None:
    """None where a model was not evaluated by the metric, or where it means something else for
    each."""
    if metric == DIVERGENCE and not pair.share_teacher:
        return None
    estimate = difference(pair.ours, pair.theirs, metric)
    of_first = paired(pair.ours[0], metric)
    if not (estimate and of_first):
        return None
    both = zip(pair.ours, pair.theirs, strict=True)
    return Comparison(
        pair.ours[0].series,
        pair.against,
        metric,
        of_first.higher_is_better,
        *pair.run.setting,
        pair.seeds,
        pair.ours,
        pair.theirs,
        [_value(own, metric) - _value(other, metric) for own, other in both],
        estimate,
        pair.seconds_over,
        pair.memory_over,
    )


def _value(model: EvaluatedModel, metric: str) -> float:
    pair = paired(model, metric)
    assert pair
    return float(pair.documents["total"].sum() / pair.documents["size"].sum())


def times(ours: Sequence[Run], theirs: Sequence[Run], cost: str) -> float:
    """How many times as much runs of one series cost as as many of another; NaN where they ran on
    other machines or a cost is not known."""
    machines = {
        (run.training.get("device"), run.training.get("world_size")) for run in (*ours, *theirs)
    }
    if len(machines) > 1:
        return math.nan
    sums = [
        sum(run.training.get(cost) or math.nan for run in of_series) for of_series in (ours, theirs)
    ]
    return sums[0] / sums[1]


def variants(runs: Sequence[Run]) -> list[dict[int, Run]]:
    """The runs by seed, in groups that differ in nothing but their seed.

    Raises ValueError where two runs have the same seed too.
    """
    groups: dict[str, dict[int, Run]] = {}
    for run in runs:
        identity = json.dumps(_without_seeds(run.settings.own(mode="json")), sort_keys=True)
        by_seed = groups.setdefault(identity, {})
        seed = run.settings.seed
        twin = by_seed.setdefault(seed, run)
        if twin is not run:
            raise ValueError(
                f"runs {twin.name!r} and {run.name!r} have the same settings and the same seed, "
                f"{seed}: give one of them another seed, or remove it"
            )
    return list(groups.values())


def evaluated_seeds(variant: dict[int, Run]) -> set[int]:
    """Seeds whose runs were evaluated in bits per byte."""
    return {seed for seed, run in variant.items() if len(run.model.documents)}


def _without_seeds(settings: Any) -> Any:
    if isinstance(settings, dict):
        return {key: _without_seeds(value) for key, value in settings.items() if key != "seed"}
    return settings


def _first(variant: dict[int, Run]) -> Run:
    return next(iter(variant.values()))


def _check_same_documents(first: str, left: pd.DataFrame, second: str, right: pd.DataFrame) -> None:
    missing = left.index.symmetric_difference(right.index)
    if len(missing):
        document = missing[0]
        has, lacks = (first, second) if document in left.index else (second, first)
        raise OtherDocumentsError(
            f"document {document!r} was scored for {has!r} and not for {lacks!r}: "
            "models are compared on the same documents only; evaluate both on the same split"
        )
    differs = left["size"] != right["size"]
    if differs.any():
        document = differs.idxmax()
        raise OtherDocumentsError(
            f"document {document!r} has {left.at[document, 'size']:g} bytes for {first!r} and "
            f"{right.at[document, 'size']:g} for {second!r}: evaluate both on the same split"
        )
