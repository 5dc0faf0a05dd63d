"""The plan of a configuration: what it makes, what that costs, and whether the machines can hold it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from bld.config.settings import Settings
from bld.pipeline.plan.disk import Item, items_of
from bld.pipeline.plan.documents import Amount, amount_of
from bld.pipeline.plan.gpus import Gpu, assumed_gpu
from bld.pipeline.plan.jobs import Job, Premises, all_submissions, other_jobs
from bld.pipeline.plan.limits import Limits
from bld.pipeline.plan.models import Shapes
from bld.pipeline.plan.scoring import ScoringJob, scoring_job
from bld.pipeline.plan.shapes import Shape
from bld.pipeline.plan.trainings import TrainingJob, pretraining, trainings_of_run
from bld.pipeline.plan.words import gib, hours, size
from bld.pipeline.targets import Targets

CLOSE = 0.8
MEGABYTE = 1e6
K = TypeVar("K")
V = TypeVar("V")


class Plan(NamedTuple):
    """What a configuration will cost; `refusals` and `warnings` say what does not fit, or hardly."""

    settings: Settings
    gpu: Gpu
    splits: dict[tuple[str, str], Amount]
    models: dict[str, Shape]
    students: dict[str, Shape]
    scoring: list[ScoringJob]
    trainings: list[TrainingJob]
    items: list[Item]
    submissions: int
    free: float
    refusals: list[str]
    warnings: list[str]

    @property
    def jobs(self) -> Sequence[Job]:
        """Scoring and training, in their order."""
        return [*self.scoring, *self.trainings]

    @property
    def to_write(self) -> float:
        """Bytes of what is not there yet."""
        return sum(item.bytes for item in self.items if not item.there)


def make_plan(settings: Settings, limits: Mapping[str, Mapping[str, Limits]], folder: Path) -> Plan:
    """The plan for a working folder, whose manifests and models are read where they are there.

    Raises ValueError that lists every corpus and every model of which too little is known.
    """
    targets = Targets(settings)
    shapes = Shapes(settings, folder / "resources")
    gpu = assumed_gpu(settings.plan)
    results = folder / "results"

    def amount(of: tuple[str, str]) -> Amount:
        return amount_of(*of, settings.corpora[of[0]], results)

    unknown: list[str] = []
    splits = _known(targets.splits(), amount, unknown)
    models = _known(targets.models(), shapes.model, unknown)
    taught = dict.fromkeys(run.student for run in settings.runs.values())
    students = _known(taught, shapes.student, unknown)
    if unknown:
        raise ValueError("\n".join(dict.fromkeys(unknown)))

    premises = Premises(settings, shapes, splits, limits, gpu)
    scoring = [scoring_job(premises, *cache) for cache in targets.caches()]
    made_here = [name for name in models if settings.models[name].scratch]
    trainings = [pretraining(premises, name) for name in made_here]
    trainings += [job for run in settings.runs for job in trainings_of_run(premises, run)]
    jobs = other_jobs(targets) + sum(job.count for job in [*scoring, *trainings])
    items = list(items_of(premises, scoring, trainings, jobs, folder))
    plan = Plan(
        settings=settings,
        gpu=gpu,
        splits=splits,
        models=models,
        students=students,
        scoring=scoring,
        trainings=trainings,
        items=items,
        submissions=other_jobs(targets) + all_submissions([*scoring, *trainings]),
        free=shutil.disk_usage(folder).free,
        refusals=[],
        warnings=[doubt for name in models for doubt in shapes.doubts(name)],
    )
    for share, sentence in _shares(plan):
        if share > CLOSE:
            (plan.refusals if share > 1 else plan.warnings).append(sentence)
    return plan


def _known(names: Iterable[K], make: Callable[[K], V], unknown: list[str]) -> dict[K, V]:
    """What can be made; what is wrong with the rest goes to `unknown`."""
    made = {}
    for name in names:
        try:
            made[name] = make(name)
        except ValueError as error:
            unknown.append(str(error))
    return made


def _shares(plan: Plan) -> Iterator[tuple[float, str]]:
    """How much is asked of everything that has a limit, as a share of it, and a sentence for when that is too much."""
    for job in plan.jobs:
        yield from _memory_share(job, plan.gpu)
        yield from _time_share(job)
    for training in plan.trainings:
        yield from _host_share(training)
        yield from _batch_share(training)
    needed, free = plan.to_write, plan.free
    yield (
        needed / max(free, 1),
        f"Disk: {size(needed)} will be written, and {size(free)} are free on the file system of the working folder. Make "
        "room, or work in another folder (`--directory`).",
    )


def _memory_share(job: Job, gpu: Gpu) -> Iterator[tuple[float, str]]:
    if not job.limits.gpus:
        return
    remedy = (
        "A smaller `batch_tokens` or `window`, or `precision: bf16`, needs less."
        if isinstance(job, ScoringJob)
        else "A smaller `micro_batch_size`, `activation_checkpointing`, `lora`, a higher `zero_stage` on more GPUs, or "
        "`offload` needs less."
    )
    yield (
        job.memory.total / gpu.memory,
        f"{job.name}: needs {gib(job.memory.total)} GiB on each GPU, and {gpu.name} has {gib(gpu.memory)} GiB. {remedy}",
    )


def _time_share(job: Job) -> Iterator[tuple[float, str]]:
    runtimes = job.limits.runtimes
    jobs = "1 job" if len(runtimes) == 1 else f"{len(runtimes)} jobs"
    minutes = " + ".join(f"{x:g}" for x in (runtimes if len(set(runtimes)) > 1 else runtimes[:1]))
    yield (
        job.hours / max(job.available_hours, 1e-9),
        f"{job.name}: takes {hours(job.hours)} h, and {jobs} of {minutes} minutes ({len(runtimes) - 1} `retries`), "
        f"{job.start_minutes:g} of them to start and save, leave {hours(job.available_hours)} h. Give the rule a longer "
        "`runtime` or more GPUs, or the profile more `retries`.",
    )


def _host_share(job: TrainingJob) -> Iterator[tuple[float, str]]:
    most = max(job.limits.mem_mb) * MEGABYTE
    if most:
        yield (
            job.host_bytes / most,
            f"{job.name}: needs {size(job.host_bytes)} of memory on each node to read the weights in float32, and gets "
            f"{size(most)}. Give the rule more `mem_mb`.",
        )


def _batch_share(job: TrainingJob) -> Iterator[tuple[float, str]]:
    at_once = job.rows_at_once * job.limits.processes
    if job.rows % at_once:
        yield (
            float("inf"),
            f"{job.name}: a batch of {job.rows} rows cannot be shared out between {job.limits.processes} GPUs in micro "
            f"batches of {job.rows_at_once}; `training.batch_size` must be a multiple of {at_once}.",
        )
