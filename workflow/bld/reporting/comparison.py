"""Methods against SFT: which runs may be compared, and by how many bits per byte they differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from bld.reporting.inputs import Run, Scores
from bld.reporting.statistics import Estimate, bits_per_byte

BASELINE = "sft"


class Comparison(NamedTuple):
    """A method's runs less SFT's, seed by seed, in bits per byte: negative is better than SFT."""

    method: str
    head: str | None
    series: str
    student: str
    corpus: str
    seeds: list[int]
    runs: list[str]
    baseline_runs: list[str]
    by_seed: list[float]
    difference: Estimate


def compare(runs: Sequence[Run]) -> list[Comparison]:
    """Every method against SFT on the same student, corpus and seed; one entry per set of settings.

    Raises ValueError where two runs differ in nothing but their names, or were judged on other
    documents.
    """
    variants = _variants(runs)
    baselines = [variant for variant in variants if _method(variant) == BASELINE]
    return [
        _comparison(variant, baseline, seeds)
        for variant in variants
        if _method(variant) != BASELINE
        for baseline in baselines
        if _setting(variant) == _setting(baseline)
        if (seeds := sorted(variant.keys() & baseline.keys()))
    ]


def difference(first: Sequence[Scores], second: Sequence[Scores]) -> Estimate:
    """The paired difference first - second in bits per byte, averaged over pairs (one pair a seed).

    Raises ValueError that names the first document which two of the models do not share.
    """
    reference = first[0]
    for scores in (*first, *second):
        _check_same_documents(reference, scores)
    nats = [
        one.documents["nats"] - other.documents["nats"]
        for one, other in zip(first, second, strict=True)
    ]
    mean_nats = pd.concat(nats, axis=1).mean(axis=1)
    return bits_per_byte(mean_nats.to_numpy(), reference.documents["bytes"].to_numpy())


def _comparison(variant: dict[int, Run], baseline: dict[int, Run], seeds: list[int]) -> Comparison:
    ours = [variant[seed] for seed in seeds]
    theirs = [baseline[seed] for seed in seeds]
    estimate = difference([run.scores for run in ours], [run.scores for run in theirs])
    return Comparison(
        method=_method(variant),
        head=ours[0].inputs.head,
        series=ours[0].inputs.series,
        student=ours[0].inputs.student,
        corpus=ours[0].inputs.corpus,
        seeds=seeds,
        runs=[run.name for run in ours],
        baseline_runs=[run.name for run in theirs],
        by_seed=[
            run.scores.bits_per_byte - other.scores.bits_per_byte
            for run, other in zip(ours, theirs, strict=True)
        ],
        difference=estimate,
    )


def _variants(runs: Sequence[Run]) -> list[dict[int, Run]]:
    """The runs by seed, in groups that differ in nothing but their seed."""
    groups: dict[str, dict[int, Run]] = {}
    for run in runs:
        inputs = run.inputs
        settings = _without_seeds(inputs.settings)
        identity = [inputs.method, inputs.student, inputs.teacher, inputs.corpus, settings]
        by_seed = groups.setdefault(json.dumps(identity, sort_keys=True), {})
        twin = by_seed.setdefault(inputs.seed, run)
        if twin is not run:
            raise ValueError(
                f"runs {twin.name!r} and {run.name!r} have the same settings and the same seed, "
                f"{inputs.seed}: give one of them another seed, or remove it"
            )
    return list(groups.values())


def _without_seeds(settings: Any) -> Any:
    if isinstance(settings, dict):
        return {key: _without_seeds(value) for key, value in settings.items() if key != "seed"}
    return settings


def _method(variant: dict[int, Run]) -> str:
    return next(iter(variant.values())).inputs.method


def _setting(variant: dict[int, Run]) -> tuple[str, str]:
    inputs = next(iter(variant.values())).inputs
    return inputs.student, inputs.corpus


def _check_same_documents(first: Scores, second: Scores) -> None:
    left, right = first.documents, second.documents
    missing = left.index.symmetric_difference(right.index)
    if len(missing):
        document = missing[0]
        has, lacks = (first, second) if document in left.index else (second, first)
        raise ValueError(
            f"document {document!r} was scored for {has.model!r} and not for {lacks.model!r}: "
            "models are compared on the same documents only; evaluate both on the same split"
        )
    differs = left["bytes"] != right["bytes"]
    if differs.any():
        document = differs.idxmax()
        raise ValueError(
            f"document {document!r} has {left.at[document, 'bytes']} bytes for {first.model!r} and "
            f"{right.at[document, 'bytes']} for {second.model!r}: evaluate both on the same split"
        )
