"""What a configuration needs made: the splits that are read, the byte caches, the trainings, in the order of the chain.

The rules ask here too which caches, trainings and looks there are; that the plan has as many jobs as they have is tested.
"""

from __future__ import annotations

from collections.abc import Iterable

from bld.config.settings import Methods, Run, Settings

WARMED_UP = ("linear", "causal")
MAPPED = tuple(name for name, method in Methods() if method.reads_map)


def learns_from(run: Run, mode: str, settings: Settings) -> bool:
    """Whether a run learns from a teacher that is `cached` or `live`."""
    return run.method != "sft" and settings.teachers[str(run.teacher)].mode == mode


def reads_tokens(run: Run) -> bool:
    """Whether a run learns from its teacher's tokens."""
    return run.taught is not None and run.taught.reads_tokens


def has_map(run: Run) -> bool:
    """Whether a run reads a map of its student's and its teacher's vocabularies."""
    return run.method in MAPPED


def maps_read(settings: Settings) -> list[tuple[str, str, str]]:
    """(kind, student, teacher) of the vocabulary maps that runs read."""
    runs = (run for run in settings.runs.values() if has_map(run))
    return list(dict.fromkeys((run.method, run.student, str(run.teacher)) for run in runs))


def alignments_measured(
    settings: Settings, runs: Iterable[str] | None = None
) -> list[tuple[str, str, str, str]]:
    """(student, teacher, corpus, split) of which it is counted how far their tokens agree: of these runs, by default of
    all, whose teacher is one model."""
    found: dict[tuple[str, str, str, str], None] = {}
    for name in settings.runs if runs is None else runs:
        run = settings.runs[name]
        if run.teacher and has_tokens(run.teacher, settings):
            found[run.student, run.teacher, run.corpus, run.validation_split] = None
    return list(found)


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
    teachers = [settings.teachers[run.teacher] for run in runs if run.teacher]
    taught = [model for teacher in teachers for model in teacher.models]
    return list(dict.fromkeys([*taught, *students]))


def has_tokens(teacher: str, settings: Settings) -> bool:
    """Whether a teacher has tokens of its own: an average of models is judged by its bytes alone."""
    return settings.teachers[teacher].average is None


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
    with_tokens = {teacher for teacher in teachers if has_tokens(str(teacher[0]), settings)}
    judged = len(runs) + len(students) + len(with_tokens)
    jobs = dict.fromkeys(settings.evaluation.tasks, judged)
    jobs["bits_per_byte"] += len(teachers) - len(with_tokens)
    if "byte_divergence" in jobs:
        jobs["byte_divergence"] = len(taught) + len(held_against)
    models = len(runs) + len({run.student for run in runs}) + len({x[0] for x in with_tokens})
    return sum(jobs.values()) + models * len(settings.benchmarks)


def other_jobs(settings: Settings) -> int:
    """Jobs besides scoring and training that a cluster gets: documents, tokenizers, students, caches, maps and
    counts of tokens, benchmarks made here, judgements, the report and that of each archive."""
    needed = {*models_read(settings), *tokenizers_read(settings)}
    reports = 1 + len(settings.archives)
    return (
        len(splits_read(settings))
        + sum(settings.models[name].scratch is not None for name in needed)
        + len({run.student for run in settings.runs.values()})
        + len(caches(settings))
        + sum(1 + has_tokens(x[0], settings) for x in caches(settings, looked_at=False))
        + len(maps_read(settings))
        + len(alignments_measured(settings))
        + sum(benchmark.local is not None for benchmark in settings.benchmarks.values())
        + judgements(settings)
        + reports
    )
