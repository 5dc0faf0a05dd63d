"""The plan of a configuration: what it makes, what that costs, and whether the machines hold it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from bld.config.plan import GIB
from bld.config.settings import Settings
from bld.files import MANIFEST
from bld.pipeline.paths import rendered_manifest
from bld.pipeline.plan import work
from bld.pipeline.plan.jobs import Job, Limits, all_submissions, other_jobs
from bld.pipeline.plan.shapes import Shape, Shapes
from bld.pipeline.targets import Targets

CLOSE = 0.8
MEGABYTE = 1e6
# Two checkpoints are kept, and a third stands beside them while it is written.
CHECKPOINTS = 3
# A model folder: configurations, tokenizer, manifest; and weights in files of this size.
MODEL_FILES, WEIGHTS_FILE_BYTES = 8, 5e9
# Metrics, summary and evaluations of a run; its byte head; the files of the report, at most.
RUN_FILES, HEAD_FILES, REPORT_FILES = 8, 4, 44
FILES_PER_PAIR = 2  # a map of two vocabularies, or how tokens agree; and its record
FILES_PER_JOB = 2  # its log and its benchmark
FILES_PER_DATASET = 16
# Of a token its id, which symbol it spells first, and how many; its symbols beside them.
RENDERED_TOKEN_BYTES, RENDERED_FILES = 9, 10
SCORING_REMEDY = "A smaller `batch_tokens` or `window`, or `precision: bf16`, needs less."
TRAINING_REMEDY = (
    "A smaller `micro_batch_size`, `activation_checkpointing`, `lora`, a higher `zero_stage` on "
    "more GPUs, or `offload` needs less."
)
K = TypeVar("K")
V = TypeVar("V")


class Item(NamedTuple):
    """What takes room on disk; `there`: it is made already."""

    name: str
    bytes: float
    files: float
    there: bool = False


class Plan(NamedTuple):
    """What a configuration will cost; `refusals` and `warnings` say what does not fit, or
    hardly."""

    settings: Settings
    splits: dict[tuple[str, str], work.Amount]
    models: dict[str, Shape]
    students: dict[str, Shape]
    scoring: list[work.ScoringJob]
    trainings: list[work.TrainingJob]
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
    targets, shapes = Targets(settings), Shapes(settings, folder / "resources")

    def amount(of: tuple[str, str]) -> work.Amount:
        return work.amount_of(*of, settings.corpora[of[0]], folder / "results")

    unknown: list[str] = []
    splits = _known(targets.splits(), amount, unknown)
    models = _known(targets.models(), shapes.model, unknown)
    taught = dict.fromkeys(run.student for run in settings.runs.values())
    students = _known(taught, shapes.student, unknown)
    if unknown:
        raise ValueError("\n".join(dict.fromkeys(unknown)))

    inputs = work.CostInputs(settings, shapes, splits, limits)
    scoring = [work.scoring_job(inputs, *cache) for cache in targets.caches()]
    trainings = [work.pretraining(inputs, name) for name in models if settings.models[name].scratch]
    trainings += [job for run in settings.runs for job in work.trainings_of_run(inputs, run)]
    plan = Plan(
        settings=settings,
        splits=splits,
        models=models,
        students=students,
        scoring=scoring,
        trainings=trainings,
        items=[],
        submissions=other_jobs(targets) + all_submissions([*scoring, *trainings]),
        free=shutil.disk_usage(folder).free,
        refusals=[],
        warnings=[doubt for name in models for doubt in shapes.doubts(name)],
    )
    plan.items.extend(_items(plan, targets, inputs, folder))
    for fraction, sentence in _demands(plan):
        if fraction > CLOSE:
            (plan.refusals if fraction > 1 else plan.warnings).append(sentence)
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


def _items(plan: Plan, targets: Targets, inputs: work.CostInputs, folder: Path) -> Iterator[Item]:
    """Everything that the configuration makes in `folder`."""

    def made(name: str, where: str, size: float, files: float) -> Item:
        return Item(name, size, files, (folder / where / MANIFEST).exists())

    def model(name: str, where: str, size: float, files: int = MODEL_FILES) -> Item:
        return made(name, where, size, files + math.ceil(size / WEIGHTS_FILE_BYTES))

    yield from (made(*dataset) for dataset in _datasets(plan.settings))
    for (corpus, split), amount in plan.splits.items():
        yield Item(f"documents {corpus} {split}", amount.content, amount.shards + 1, amount.counted)
    for name, shape in plan.models.items():
        yield model(f"model {name}", f"resources/models/{name}", shape.weights_bytes)
    for name in targets.tokenizers():
        if name not in plan.models:
            yield made(f"tokenizer {name}", f"resources/models/{name}", 0, MODEL_FILES)
    for job in plan.scoring:
        cache = job.teacher, job.corpus, job.split
        where = f"results/teachers/{'/'.join(cache)}"
        shards = plan.splits[job.corpus, job.split].shards
        yield made(f"byte cache {' '.join(cache)}", where, job.cache_bytes, shards + 4)
    for name, shape in plan.students.items():
        yield model(f"student {name}", f"results/students/{name}", shape.weights_bytes)
    for kind, name, corpus, split in targets.rendered():
        student, amount = name if kind == "students" else None, plan.splits[corpus, split]
        tokens = amount.content / inputs.bytes_per_token(corpus, student)
        size = tokens * RENDERED_TOKEN_BYTES + amount.supervised
        where = str(Path(rendered_manifest(kind, name, corpus, split)).parent)
        yield made(f"{corpus} {split} as {name} reads it", where, size, RENDERED_FILES)
    for training in plan.trainings:
        name, size = training.target, training.export_bytes
        where = f"resources/models/{name}"
        if training.rule == "distill":
            where = f"results/runs/{name}/model"
            yield model(f"trained {name}", where, size, MODEL_FILES + RUN_FILES)
        elif training.rule == "warm_up":
            where = f"results/runs/{name}/warmup"
            yield made(f"byte head {name}", where, size, HEAD_FILES)
        files = CHECKPOINTS * (2 * training.limits.processes + 4)
        size = CHECKPOINTS * training.checkpoint_bytes
        yield made(f"{CHECKPOINTS} checkpoints of {training.name}", where, size, files)
    if pairs := len(targets.maps()) + len(targets.alignments()):
        yield Item("maps of vocabularies, alignments", 0, FILES_PER_PAIR * pairs)
    jobs = other_jobs(targets) + sum(job.count for job in plan.jobs)
    yield Item("logs, evaluations, report", 0, FILES_PER_JOB * jobs + REPORT_FILES)


def _datasets(settings: Settings) -> Iterator[tuple[str, str, float, int]]:
    """Name, folder, bytes and files of the data sets that are fetched."""
    sizes: dict[str, float] = {}
    for corpus in settings.corpora.values():
        if expected := corpus.expected:
            size = expected.documents * expected.bytes_per_document
            for name in corpus.source.datasets:
                sizes[name] = max(size, sizes.get(name, 0))
    for name, size in sizes.items():
        if settings.datasets[name].hub:
            yield f"data set {name}", f"resources/datasets/{name}", size, FILES_PER_DATASET


def _demands(plan: Plan) -> Iterator[tuple[float, str]]:
    """What is asked of everything that has a limit, as a fraction of it, and a sentence for when
    that is too much."""
    for job in plan.jobs:
        if job.limits.gpus:
            yield _of_gpu(job, plan)
        yield _of_time(job)
    for training in plan.trainings:
        yield from _of_nodes(training)
    needed, free = plan.to_write, plan.free
    yield (
        needed / max(free, 1),
        f"Disk: {size(needed)} will be written, and {size(free)} are free on the file system of "
        "the working folder. Make room, or work in another folder (`--directory`).",
    )


def _of_gpu(job: Job, plan: Plan) -> tuple[float, str]:
    gpu = plan.settings.plan
    remedy = SCORING_REMEDY if isinstance(job, work.ScoringJob) else TRAINING_REMEDY
    return (
        job.memory.total / gpu.memory,
        f"{job.name}: needs {gib(job.memory.total)} GiB on each GPU, and {gpu.gpu} has "
        f"{gib(gpu.memory)} GiB. {remedy}",
    )


def _of_time(job: Job) -> tuple[float, str]:
    return (
        0.0 if job.hours_per_submission else math.inf,
        f"{job.name}: its `runtime` is {job.limits.runtime:g} minutes, and it needs "
        f"{job.start_minutes:g} to start and save (`plan.job_minutes`), so no job would get on. "
        "Give the rule a longer `runtime`.",
    )


def _of_nodes(job: work.TrainingJob) -> Iterator[tuple[float, str]]:
    """Memory of the hosts, and whether the processes can share a batch."""
    if memory := job.limits.mem_mb * MEGABYTE:
        yield (
            job.host_bytes / memory,
            f"{job.name}: needs {size(job.host_bytes)} of memory on each node to read the weights "
            f"in float32, and gets {size(memory)}. Give the rule more `mem_mb`.",
        )
    at_once = job.rows_at_once * job.limits.processes
    if job.rows % at_once:
        yield (
            math.inf,
            f"{job.name}: a batch of {job.rows} rows cannot be shared out between "
            f"{job.limits.processes} GPUs in micro batches of {job.rows_at_once}; "
            f"`training.batch_size` must be a multiple of {at_once}.",
        )


def scaled(value: float, unit: str = "", prefixes: str = " kMGTPEZ") -> str:
    """Three digits, such as "86.4 GB" (10^9 bytes)."""
    place = 0
    while value >= 999.5 and place < len(prefixes) - 1:
        value, place = value / 1000, place + 1
    return f"{value:.3g} {prefixes[place].strip()}{unit}".strip()


size, flops = partial(scaled, unit="B"), partial(scaled, unit="FLOP")
"""Bytes, and floating-point operations."""
short = partial(scaled, prefixes=" kMBT")
"""A large number, such as "3.21 B"."""


def gib(value: float) -> str:
    """GiB of so many bytes, without the unit."""
    return f"{value / GIB:.1f}"


def hours(value: float) -> str:
    """Hours, or seconds, with no more digits than are of use."""
    if value >= 10:
        return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.01 or not value else "<0.01"
