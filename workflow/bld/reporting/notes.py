"""Failures and warnings: what is missing, and what to be careful with, one line each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bld.config.evaluation import MEASURES
from bld.reporting.comparison import Comparison
from bld.reporting.inputs import (
    ALIGNMENT,
    METRICS,
    MODEL,
    ByteCache,
    EvaluatedModel,
    Run,
    evaluated_models,
)
from bld.reporting.series import flat
from bld.reporting.statistics import MIN_GROUPS as WITH_INTERVAL
from bld.reporting.tables import Tables
from bld.reporting.words import BASELINE, BITS, number, percent
from bld.windows import LongDocuments

MIN_GROUPS = 100
"""With fewer, 95 % intervals hold the truth less often than 93 times in a hundred (in simulations);
for those of very few see `statistics.MIN_GROUPS`."""
OF_METHODS = ("method", "head_warmup.", "sampling.", "seed")
NO_BASELINE = "no evaluated SFT run has its student, corpus and seed"
OVERFITTED = 0.01
"""Relative difference in bits per byte between the best development evaluation and the last."""


class Note(NamedTuple):
    """`is_failure`: something is missing that was asked for; else a reader should only be
    careful."""

    is_failure: bool
    text: str


def notes(
    tables: Tables, rows: Mapping[str, dict[str, Any]], missing: Sequence[Path]
) -> list[Note]:
    """Failures first; `rows` are counts of rows by split, `missing` files of caches that are not
    there."""
    failures = [
        *_missing(tables.runs),
        *(f"Missing: {path}." for path in missing),
        *(
            f"{_measure(task)} of {run.name} is of an earlier model and was left out."
            for run in tables.runs
            for task in run.outdated
        ),
        *(f"Left out of the comparison: {reason}." for reason in tables.incomparable),
    ]
    methods = [x for _, x in tables.with_baseline if x.metric == BITS]
    cautions = [
        *(text for split, counts in rows.items() for text in _rows(split, counts)),
        *(text for model in evaluated_models(tables.runs) for text in _evaluations(model)),
        *_rendered(evaluated_models(tables.runs)),
        *(_average(run) for run in tables.runs if run.has_averaged_teacher),
        *_uncompared(tables.runs, methods),
        *(text for comparison in methods for text in _comparisons(tables.runs, comparison)),
        *(text for run in tables.runs for text in _training(run)),
        *(text for cache in tables.caches for text in _cache(cache)),
    ]
    if single := [x.ours[0].name for x in methods if len(x.seeds) == 1]:
        cautions.append(
            f"One seed only, so what another would change is unknown: {', '.join(single)}."
        )
    pairs = [*((True, text) for text in failures), *((False, text) for text in cautions)]
    return [Note(*pair) for pair in dict.fromkeys(pairs)]


def _missing(runs: Sequence[Run]) -> Iterator[str]:
    seen: set[Path] = set()
    for run in runs:
        if not run.training:
            yield (
                f"{run.name} was not trained to its end; its logs are in logs/warm_up and "
                "logs/distill."
            )
        for key, path in run.missing.items():
            whose, _, task = key.partition("/")
            is_of_run = (not task or whose == "run") and key != ALIGNMENT
            follows = is_of_run and not run.training
            if not follows and path not in seen:
                owner = run.name if is_of_run else _owner(whose, run)
                yield f"{_measure(task or whose)} of {owner} is missing: {path}."
            seen.add(path)


def _measure(task: str) -> str:
    ours = (*MEASURES, METRICS, MODEL, ALIGNMENT)
    return task.replace("_", " ").capitalize() if task in ours else task


def _owner(whose: str, run: Run) -> str:
    if whose == ALIGNMENT:
        return f"the tokens of {run.settings.student} and {run.settings.teacher}"
    return f"the {whose} {getattr(run.settings, whose)}" + " before training" * (whose == "student")


def _rows(split: str, counts: Mapping[str, Any]) -> Iterator[str]:
    if skipped := counts["skipped"]:
        reasons = "; ".join(
            f"{number(found['rows'], 0)} for {why} (first: {found['first'][0]})"
            for why, found in counts["reasons"].items()
        )
        yield (
            f"Of the rows read for {split}, {number(skipped, 0)} of {number(counts['rows'], 0)} "
            f"were left out: {reasons}."
        )


def _evaluations(model: EvaluatedModel) -> Iterator[str]:
    for task, result in model.results.items():
        rows = result.get("per_document", [])
        groups = len({row["group"] for row in rows})
        if 0 < groups < MIN_GROUPS:
            unit = "questions" if task in model.benchmarks else f"documents of {model.corpus}"
            counted = f"only {groups} groups" if groups > 1 else "one group"
            consequence = "intervals are too narrow"
            if groups < WITH_INTERVAL:
                consequence = "no intervals are given"
            yield f"{_measure(task)}: the {len(rows)} {unit} are {counted}, so {consequence}."
    divergence = model.result("byte_divergence")
    if divergence and divergence["kl"] is None:
        yield (
            f"The KL divergence of {model.name} from its teacher is infinite: it gives no "
            "probability to bytes to which the teacher gives some, which cannot be with "
            "evaluation.eps 0."
        )
    for task in model.benchmarks:
        if limit := model.result(task).get("limit"):
            yield f"{task} was cut to {limit} questions of each task: not a figure to publish."
    cut = {task: model.result(task).get("cut_prompts") for task in model.benchmarks}
    if any(cut.values()):
        counts = ", ".join(f"{task} {count:,}" for task, count in cut.items() if count)
        yield (
            f"{model.name} read prompts of benchmarks without their beginning, which its window "
            f"does not hold ({counts}): see evaluation.window."
        )


def _rendered(models: Sequence[EvaluatedModel]) -> Iterator[str]:
    """What was told when their documents were rendered, once for all of which it is true."""
    names: dict[str, list[str]] = {}
    for model in models:
        for text in model.result("bits_per_byte").get("notes", ()):
            names.setdefault(text, []).append(model.name)
    yield from (f"{', '.join(whose)}: {text}." for text, whose in names.items())


def _average(run: Run) -> str:
    return (
        f"The teacher {run.settings.teacher} averages several models, so its bits per byte are "
        "by bytes: compare them with the column By bytes of others."
    )


def _uncompared(runs: Sequence[Run], compared: Sequence[Comparison]) -> Iterator[str]:
    """Runs without a comparison with SFT, by the reason."""
    names = {model.name for comparison in compared for model in comparison.ours}
    baselines = {
        (*run.setting, run.settings.seed)
        for run in runs
        if run.series == BASELINE and len(run.model.documents)
    }
    reasons: dict[str, list[str]] = {}
    for run in runs:
        if run.series != BASELINE and run.name not in names:
            has_baseline = (*run.setting, run.settings.seed) in baselines
            reason = "SFT was evaluated on other documents" if has_baseline else NO_BASELINE
            reason = reason if len(run.model.documents) else "not evaluated"
            reasons.setdefault(reason, []).append(run.name)
    for reason, uncompared in reasons.items():
        yield f"Not compared with SFT ({reason}): {', '.join(uncompared)}."


def _comparisons(runs: Sequence[Run], comparison: Comparison) -> Iterator[str]:
    if differing := _other_settings(runs, comparison):
        baseline = comparison.theirs[0].name
        yield f"Besides the method, {comparison.ours[0].name} and {baseline} differ in {differing}."
    signs = {math.copysign(1, value) for value in comparison.by_seed}
    if len(signs) > 1 and comparison.difference.excludes_zero:
        names = ", ".join(model.name for model in comparison.ours)
        yield f"The seeds of {names} disagree on whether they are better than SFT."


def _other_settings(runs: Sequence[Run], comparison: Comparison) -> str:
    """The settings in which two runs differ besides their methods."""
    settings = {run.name: dict(sorted(flat(run.settings.own(mode="json")))) for run in runs}
    ours, theirs = (settings[models[0].name] for models in (comparison.ours, comparison.theirs))
    of_methods = (*OF_METHODS, *(f"{run.settings.method}." for run in runs))
    return ", ".join(
        f"{key} ({value} against {theirs.get(key)})"
        for key, value in ours.items()
        if value != theirs.get(key) and not key.startswith(of_methods)
    )


def _training(run: Run) -> Iterator[str]:
    yield from _long_documents(run)
    metrics = run.metrics
    if metrics is None or "dev_bits_per_byte" not in metrics:
        return
    bits = metrics.loc[metrics["phase"] == "distill", "dev_bits_per_byte"].dropna()
    if len(bits) > 1 and bits.iloc[-1] > (1 + OVERFITTED) * bits.min():
        yield (
            f"{run.name} had fewer bits per byte on the development split ({number(bits.min())}) "
            f"before its end ({number(bits.iloc[-1])}): fewer steps or a lower learning rate "
            "would do better."
        )


def _long_documents(run: Run) -> Iterator[str]:
    found = dict(run.training.get("long_documents", {}))
    window = found.pop("teacher_window", None)
    if found.get("long"):
        teacher = f"; its teacher reads up to {window:,} of its own at once" if window else ""
        yield f"{run.name}: {LongDocuments(**found)}{teacher}."


def _cache(cache: ByteCache) -> Iterator[str]:
    if lost := cache.audit["true_byte_lost"]["stored"]:
        yield (
            f"The byte cache of {cache.name} gives no probability to {number(lost, 0)} true bytes."
        )
    if exceeded := cache.audit["lost_mass"]["exceeded"]:
        yield (
            f"In the byte cache of {cache.name}, dropped histories moved {percent(exceeded, 2)} of "
            "the distributions by more than their bound."
        )
    if cache.audit["storage"]["kl"] is None:
        yield (
            f"The byte cache of {cache.name} gives no probability to symbols that its policy holds "
            "possible: it is damaged and has to be scored again."
        )
