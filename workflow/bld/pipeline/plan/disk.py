"""What lies on disk in the end, and at the height of the work: bytes and files, item by item."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bld.config.settings import Settings
from bld.files import MANIFEST
from bld.pipeline.plan.jobs import Premises
from bld.pipeline.plan.scoring import ScoringJob
from bld.pipeline.plan.trainings import TrainingJob
from bld.pipeline.targets import Targets

# Two checkpoints are kept, and a third stands beside them while it is written.
CHECKPOINTS = 3
# A model folder: configurations, tokenizer, manifest; and weights in files of this size.
MODEL_FILES, WEIGHTS_FILE_BYTES = 8, 5e9
# Metrics, summary and evaluations of a run; its byte head; the files of the report, at most.
RUN_FILES, HEAD_FILES, REPORT_FILES = 8, 4, 32
FILES_PER_PAIR = 2  # a map of two vocabularies, or how tokens agree; and its record
FILES_PER_JOB = 2  # its log and its benchmark
FILES_PER_DATASET = 16


class Item(NamedTuple):
    """What takes room; `there`: it is made already."""

    name: str
    bytes: float
    files: float
    there: bool = False


def items_of(
    premises: Premises,
    scoring: Sequence[ScoringJob],
    trainings: Sequence[TrainingJob],
    jobs: int,
    folder: Path,
) -> Iterator[Item]:
    """Everything that the configuration makes in `folder`; `jobs`: how many have a log."""
    settings, targets = premises.settings, Targets(premises.settings)
    yield from _datasets(settings, folder)
    for (corpus, split), amount in premises.amounts.items():
        yield Item(f"documents {corpus} {split}", amount.content, amount.shards + 1, amount.counted)
    for name in targets.models():
        there = (folder / "resources/models" / name / MANIFEST).exists()
        yield _model(f"model {name}", premises.shapes.model(name).weights_bytes, there)
    for name in targets.tokenizers():
        there = (folder / "resources/models" / name / MANIFEST).exists()
        if name not in targets.models():
            yield Item(f"tokenizer {name}", 0, MODEL_FILES, there)
    for job in scoring:
        where = folder / "results/teachers" / job.teacher / job.corpus / job.split / MANIFEST
        name = f"byte cache {job.teacher} {job.corpus} {job.split}"
        yield Item(name, job.cache_bytes, job.count + 3, where.exists())
    for name in dict.fromkeys(run.student for run in settings.runs.values()):
        there = (folder / "results/students" / name / MANIFEST).exists()
        yield _model(f"student {name}", premises.shapes.student(name).weights_bytes, there)
    for training in trainings:
        yield from _training(training, folder)
    pairs = len(targets.maps()) + len(targets.alignments())
    if pairs:
        yield Item("maps of vocabularies, alignments", 0, FILES_PER_PAIR * pairs)
    yield Item("logs, evaluations, report", 0, FILES_PER_JOB * jobs + REPORT_FILES)


def _datasets(settings: Settings, folder: Path) -> Iterator[Item]:
    sizes: dict[str, float] = {}
    for corpus in settings.corpora.values():
        if expected := corpus.expected:
            size = expected.documents * expected.bytes_per_document
            for name in corpus.source.datasets:
                sizes[name] = max(size, sizes.get(name, 0))
    for name, size in sizes.items():
        if settings.datasets[name].hub:
            there = (folder / "resources/datasets" / name / MANIFEST).exists()
            yield Item(f"data set {name}", size, FILES_PER_DATASET, there)


def _model(name: str, size: float, there: bool) -> Item:
    return Item(name, size, MODEL_FILES + math.ceil(size / WEIGHTS_FILE_BYTES), there)


def _training(job: TrainingJob, folder: Path) -> Iterator[Item]:
    name = job.target
    if job.rule == "distill":
        there = (folder / "results/runs" / name / "model" / MANIFEST).exists()
        size, files = job.export_bytes, MODEL_FILES + RUN_FILES
        yield Item(f"trained {name}", size, files + math.ceil(size / WEIGHTS_FILE_BYTES), there)
    elif job.rule == "warm_up":
        there = (folder / "results/runs" / name / "warmup" / MANIFEST).exists()
        yield Item(f"byte head {name}", job.export_bytes, HEAD_FILES, there)
    else:
        there = (folder / "resources/models" / name / MANIFEST).exists()
    files = CHECKPOINTS * (2 * job.limits.processes + 4)
    yield Item(
        f"{CHECKPOINTS} checkpoints of {job.name}", CHECKPOINTS * job.checkpoint_bytes, files, there
    )
