"""Jobs as a cluster sees them: how long they take, and how often they have to be sent; and what every job is planned from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bld.config.settings import Settings
from bld.pipeline.plan.documents import Amount, bytes_per_token
from bld.pipeline.plan.gpus import Gpu
from bld.pipeline.plan.limits import Limits
from bld.pipeline.plan.memory import Memory
from bld.pipeline.plan.models import Shapes
from bld.pipeline.targets import Targets

MINUTES_PER_HOUR = 60


class Premises(NamedTuple):
    """What costs follow from: the settings, shapes of models, amounts of documents by corpus and split, limits of jobs by
    rule and name, and a GPU."""

    settings: Settings
    shapes: Shapes
    amounts: Mapping[tuple[str, str], Amount]
    limits: Mapping[str, Mapping[str, Limits]]
    gpu: Gpu

    def bytes_per_token(self, corpus: str, student: str | None = None) -> float:
        """The mean length of a token of this student, or of any model whose tokens are not bytes."""
        if student and self.shapes.has_bytes_as_tokens(student):
            return 1.0
        return bytes_per_token(self.settings.corpora[corpus])


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job of a rule for a target, or `count` of them that are alike: GPU-hours of each, what each takes of a GPU's memory,
    what it may use, and minutes that it needs besides its work."""

    rule: str
    target: str
    gpu_hours: float
    memory: Memory
    limits: Limits
    start_minutes: float
    count: int = 1

    @property
    def name(self) -> str:
        """As Snakemake's plan of the same workflow would name it."""
        return f"{self.rule} {self.target}"

    @property
    def hours(self) -> float:
        """Hours of one job on all its GPUs."""
        return self.gpu_hours / self.limits.processes

    @property
    def available_hours(self) -> float:
        """Hours of work that one job gets done in all its attempts; infinite without a time limit."""
        return sum(map(self._work_hours, self.limits.runtimes))

    @property
    def submissions(self) -> int:
        """How often one job is sent until it is done, or as often as it may."""
        done = 0.0
        for number, runtime in enumerate(self.limits.runtimes, start=1):
            done += self._work_hours(runtime)
            if done >= self.hours:
                return number
        return len(self.limits.runtimes)

    def _work_hours(self, runtime: float) -> float:
        if not runtime:
            return math.inf
        return max(0.0, runtime - self.start_minutes) / MINUTES_PER_HOUR


def all_gpu_hours(jobs: Iterable[Job]) -> float:
    """Of all of them together."""
    return sum(job.gpu_hours * job.count for job in jobs)


def all_submissions(jobs: Iterable[Job]) -> int:
    """Of all of them together."""
    return sum(job.submissions * job.count for job in jobs)


def evaluations(targets: Targets) -> int:
    """Jobs that evaluate a run, its student before training or its teacher, by a measure or by a benchmark."""
    settings = targets.settings
    runs = settings.runs.values()
    taught = [run for run in runs if run.teacher]
    students = {(run.student, run.corpus, run.validation_split) for run in runs}
    teachers = {(run.teacher, run.corpus, run.validation_split) for run in taught}
    compared = {(run.student, run.corpus, run.validation_split, run.teacher) for run in taught}
    with_tokens = {teacher for teacher in teachers if teacher[0] not in targets.averages}
    evaluated = len(runs) + len(students) + len(with_tokens)
    jobs = dict.fromkeys(settings.evaluation.tasks, evaluated)
    jobs["bits_per_byte"] += len(teachers) - len(with_tokens)
    if "byte_divergence" in jobs:
        jobs["byte_divergence"] = len(taught) + len(compared)
    models = len(runs) + len({run.student for run in runs}) + len({x[0] for x in with_tokens})
    return sum(jobs.values()) + models * len(settings.benchmarks)


def other_jobs(targets: Targets) -> int:
    """Jobs besides scoring and training that a cluster gets: documents, tokenizers, students, caches, maps and
    counts of tokens, benchmarks made here, evaluations, the report and that of each archive."""
    settings = targets.settings
    needed = {*targets.models(), *targets.tokenizers()}
    reports = 1 + len(settings.archives)
    return (
        len(targets.splits())
        + sum(settings.models[name].scratch is not None for name in needed)
        + len({run.student for run in settings.runs.values()})
        + len(targets.caches())
        + sum(len(targets.cache_files(x)) for x in targets.caches(with_development=False))
        + len(targets.maps())
        + len(targets.alignments())
        + sum(benchmark.local is not None for benchmark in settings.benchmarks.values())
        + evaluations(targets)
        + reports
    )
