"""What a configuration needs made: the splits that are read, the byte caches, the trainings, in the order of the chain.

The rules ask here too which caches, trainings and looks there are; that the plan has as many jobs as they have is tested.
"""

from __future__ import annotations

from collections.abc import Iterable

from bld.config import Run, Settings

WARMED_UP = ("linear", "causal")


def learns_from(run: Run, mode: str, settings: Settings) -> bool:
    """Whether a run learns from a teacher that is `cached` or `live`."""
    return run.method != "sft" and settings.teachers[str(run.teacher)].mode == mode


def is_watched(run: Run) -> bool:
    """Whether a run is evaluated while it is trained."""
    return bool(run.development_split and run.training.evaluate_every)


def splits_read(settings: Settings) -> list[tuple[str, str]]:
    """(corpus, split) of all documents that are needed."""
    read = {(x.corpus, x.split): None for m in settings.models.values() if (x := m.scratch)}
    for run in settings.runs.values():
        looked_at = [run.development_split] if is_watched(run) else []
        for split in (run.train_split, *looked_at, run.validation_split):
            read[run.corpus, str(split)] = None
    made = (benchmark.local for benchmark in settings.benchmarks.values())
    read |= {(local.corpus, local.split): None for local in made if local}
    return list(read)


def caches(
    settings: Settings, looked_at: bool = True, runs: Iterable[str] | None = None
) -> list[tuple[str, str, str]]:
    """(teacher, corpus, split) of the byte caches of these runs, by default of all; without `looked_at`
    those that are learned from alone."""
    found: dict[tuple[str, str, str], None] = {}
    for name in settings.runs if runs is None else runs:
        run = settings.runs[name]
        if learns_from(run, "cached", settings):
            found[str(run.teacher), run.corpus, run.train_split] = None
            if looked_at and is_watched(run):
                found[str(run.teacher), run.corpus, str(run.development_split)] = None
    return list(found)


def models_read(settings: Settings) -> list[str]:
    """Models whose weights are needed."""
    runs = settings.runs.values()
    students = [settings.students[run.student].model for run in runs]
    teachers = [settings.teachers[run.teacher].model for run in runs if run.teacher]
    return list(dict.fromkeys([*teachers, *students]))


def tokenizers_read(settings: Settings) -> list[str]:
    """Models that only lend their tokenizer."""
    given = (settings.students[run.student].tokenizer for run in settings.runs.values())
    return list(dict.fromkeys(name for name in given if name and name in settings.models))


def has_warmup(run: Run) -> bool:
    """Whether a run has a byte head to warm up."""
    return run.method == "bld" and run.bld.head in WARMED_UP


def judgements(settings: Settings) -> int:
    """Jobs that judge a model, a run, its student before training or its teacher: by a measure, or by a benchmark."""
    runs = settings.runs.values()
    taught = [run for run in runs if run.teacher]
    students = {(run.student, run.corpus, run.validation_split) for run in runs}
    teachers = {(run.teacher, run.corpus, run.validation_split) for run in taught}
    held_against = {(run.student, run.corpus, run.validation_split, run.teacher) for run in taught}
    jobs = {task: len(runs) + len(students) + len(teachers) for task in settings.evaluation.tasks}
    if "byte_divergence" in jobs:
        jobs["byte_divergence"] = len(taught) + len(held_against)
    models = len(runs) + len({run.student for run in runs}) + len({run.teacher for run in taught})
    return sum(jobs.values()) + models * len(settings.benchmarks)


def other_jobs(settings: Settings) -> int:
    """Jobs besides scoring and training that a cluster gets: documents, tokenizers, students, caches, benchmarks made
    here, judgements, the report and that of each archive."""
    needed = {*models_read(settings), *tokenizers_read(settings)}
    reports = 1 + len(settings.archives)
    return (
        len(splits_read(settings))
        + sum(settings.models[name].scratch is not None for name in needed)
        + len({run.student for run in settings.runs.values()})
        + len(caches(settings))
        + 2 * len(caches(settings, looked_at=False))
        + sum(benchmark.local is not None for benchmark in settings.benchmarks.values())
        + judgements(settings)
        + reports
    )
