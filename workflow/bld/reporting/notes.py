"""What went wrong and what to be careful with, so that nobody has to find it in the figures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bld.reporting.comparison import BITS, Comparison
from bld.reporting.inputs import ALIGNMENT, MEASURES, METRICS, MODEL, Judged, Run, judged_models
from bld.reporting.numbers import listed, number, percent
from bld.reporting.series import BASELINE, flat
from bld.reporting.tables import Tables
from bld.reporting.teacher_bytes import TeacherBytes

FEW_DOCUMENTS = 100
"""With fewer, 95 % intervals hold the truth less often than 93 times in a hundred (in simulations)."""
OF_METHODS = ("method", "head_warmup.", "sampling.", "seed")
OVERFITTED = 0.01
"""Bits per byte on the development split between the best look and the last one, relative."""


class Note(NamedTuple):
    """`is_failure`: something is missing that was asked for; else a reader should only be careful."""

    is_failure: bool
    text: str


def notes(tables: Tables, teachers: Sequence[TeacherBytes], missing: Sequence[Path]) -> list[Note]:
    """Failures first; `missing` are files of caches that are not there."""
    found = [
        *_missing(tables.runs, missing),
        *_other_models(tables.runs),
        *(Note(True, f"Left out of the comparison: {text}.") for text in tables.incomparable),
        *(note for model in judged_models(tables.runs) for note in _judgements(model)),
        *(_average(run) for run in tables.runs if run.has_averaged_teacher),
        *_comparisons(tables),
        *(note for run in tables.runs for note in _trainings(run)),
        *(note for one in teachers for note in _caches(one)),
    ]
    return sorted(dict.fromkeys(found), key=lambda note: not note.is_failure)


def _missing(runs: Sequence[Run], of_caches: Sequence[Path]) -> Iterator[Note]:
    seen: set[Path] = set()
    for run in runs:
        if not run.training:
            yield Note(
                True,
                f"{run.name} has not been trained to the end; its logs are in logs/warm_up and logs/distill.",
            )
        for key, path in run.missing.items():
            whose, _, task = key.partition("/")
            is_of_run = (not task or whose == "run") and key != ALIGNMENT
            follows = is_of_run and not run.training
            if not follows and path not in seen:
                what = _measured(task or whose)
                whom = run.name if is_of_run else _whom(whose, run)
                yield Note(True, f"{what} of {whom} is missing: {path}.")
            seen.add(path)
    for path in of_caches:
        yield Note(True, f"{path} is missing.")


def _measured(task: str) -> str:
    ours = (*MEASURES, METRICS, MODEL, ALIGNMENT)
    return task.replace("_", " ").capitalize() if task in ours else task


def _whom(whose: str, run: Run) -> str:
    if whose == ALIGNMENT:
        return f"the tokens of {run.settings['student']} and {run.settings['teacher']}"
    return f"the {whose} {run.settings[whose]}" + " before training" * (whose == "student")


def _other_models(runs: Sequence[Run]) -> Iterator[Note]:
    for run in runs:
        for task in run.outdated:
            yield Note(
                True,
                f"{_measured(task)} of {run.name} is not of the model that is there now, and was left "
                "out.",
            )


def _judgements(model: Judged) -> Iterator[Note]:
    for task, figures in model.found.items():
        count = len(figures.get("per_document", []))
        if 0 < count < FEW_DOCUMENTS:
            what = "questions" if task in model.benchmarks else f"documents of {model.corpus}"
            yield Note(
                False,
                f"{_measured(task)} rests on {count} {what} only: intervals from so few are a little too narrow.",
            )
    divergence = model.figures("byte_divergence")
    if divergence and divergence["kl"] is None:
        yield Note(
            False,
            f"The KL divergence of {model.name} from its teacher is infinite: it gives no probability to bytes that the "
            "teacher holds possible. With evaluation.eps 0 that cannot be.",
        )
    for task in model.benchmarks:
        limit = model.figures(task).get("limit")
        if limit:
            yield Note(
                False,
                f"{task} was cut to {limit} questions of each task: not a figure to publish.",
            )


def _average(run: Run) -> Note:
    return Note(
        False,
        f"The teacher {run.settings['teacher']} averages several models, which have no tokens in common: its bits per byte "
        "are by bytes, those of others by their tokens. Compare it with the column By bytes of all models.",
    )


def _comparisons(tables: Tables) -> Iterator[Note]:
    compared = [one for one in tables.comparisons if one.against == BASELINE and one.metric == BITS]
    if any(len(one.seeds) == 1 for one in compared):
        names = [one.ours[0].name for one in compared if len(one.seeds) == 1]
        yield Note(
            False,
            f"One seed only: {listed(names)} {'was' if len(names) == 1 else 'were'} compared with one SFT run, so what "
            "another seed would change is not known.",
        )
    for one in compared:
        yield from _other_settings(tables.runs, one)
        signs = {math.copysign(1, value) for value in one.by_seed}
        if len(signs) > 1 and one.difference.excludes_zero:
            yield Note(
                False,
                f"The seeds of {listed([x.name for x in one.ours])} disagree on whether they are better than SFT.",
            )


def _other_settings(runs: Sequence[Run], one: Comparison) -> Iterator[Note]:
    """What differs beside the method, which is what is compared."""
    ours, theirs = (
        dict(flat(run.settings))
        for name in (one.ours[0].name, one.theirs[0].name)
        for run in runs
        if run.name == name
    )
    of_methods = (*OF_METHODS, *(f"{run.settings['method']}." for run in runs))
    differing = [
        f"{key} ({ours.get(key)} against {theirs.get(key)})"
        for key in ours
        if ours[key] != theirs.get(key) and not key.startswith(of_methods)
    ]
    if differing:
        yield Note(
            False,
            f"Beside the method, {one.ours[0].name} differs from {one.theirs[0].name} in {listed(differing)}.",
        )


def _trainings(run: Run) -> Iterator[Note]:
    metrics = run.metrics
    if metrics is None or "dev_bits_per_byte" not in metrics:
        return
    looks = metrics.loc[metrics["phase"] == "distill", "dev_bits_per_byte"].dropna()
    if len(looks) > 1 and looks.iloc[-1] > (1 + OVERFITTED) * looks.min():
        yield Note(
            False,
            f"{run.name} was better on the development split at an earlier look ({number(looks.min())} bits per byte) than "
            f"at the end ({number(looks.iloc[-1])}): fewer steps or a lower learning rate would do better.",
        )


def _caches(one: TeacherBytes) -> Iterator[Note]:
    audit = one.audit
    if audit["true_byte_lost"]["stored"]:
        yield Note(
            False,
            f"The byte cache of {one.name} gives no probability to {number(audit['true_byte_lost']['stored'], 0)} true bytes.",
        )
    if audit["lost_mass"]["exceeded"]:
        yield Note(
            False,
            f"In the byte cache of {one.name}, what was dropped moved {percent(audit['lost_mass']['exceeded'], 2)} of the "
            "distributions by more than the cache says.",
        )
