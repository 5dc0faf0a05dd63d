"""What the report reads: the files that training and evaluation leave for every run, and the
measures of the byte caches.

A file that is missing is left out of the report, which says so: after a night in which one job
failed, a page on all others is worth more than none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bld.config import settings as config
from bld.config.evaluation import MEASURES
from bld.files import sha256_of
from bld.reporting.series import series_of
from bld.reporting.words import REFERENCES, TEACHER, UNTRAINED

METRICS, TRAINING, MODEL, ALIGNMENT = "metrics", "training", "model", "alignment"


@dataclass(frozen=True)
class RunInputs:
    """One run: its resolved settings, those of them that were changed, and its files.

    The keys of `files` are `metrics`, `training` and `model` (the manifest of its folder), and
    `run/X`, `student/X` and `teacher/X` for the result of the measure or benchmark X for the run,
    its student before training and its teacher; and, where there is a teacher with tokens of its
    own, `alignment`, how its tokens and the student's align.
    """

    name: str
    settings: config.Run
    files: Mapping[str, Path]
    changed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CacheInputs:
    """A byte cache that runs learn from, and its files: `audit`, and `information` where the
    teacher has tokens of its own."""

    teacher: str
    corpus: str
    split: str
    files: Mapping[str, Path]

    @property
    def missing(self) -> list[Path]:
        """The files that are not there."""
        return [path for path in self.files.values() if not path.exists()]


@dataclass(frozen=True)
class ByteCache:
    """A cache's measures as read; no `information` where its teacher has no tokens of its own."""

    name: str
    audit: dict[str, Any]
    information: dict[str, Any] | None


@dataclass(frozen=True)
class EvaluatedModel:
    """A model and its results by measure and benchmark.

    `series` is that of a run (see `series`), or what the model is if no method trained it;
    `student` the one that it is or comes from, `teacher` the one that it is compared with; a
    teacher has neither.
    """

    name: str
    series: str
    corpus: str
    seed: int | None
    results: Mapping[str, dict[str, Any]]
    student: str | None = None
    teacher: str | None = None

    def result(self, task: str) -> dict[str, Any]:
        """The numbers of a measure or benchmark; none where it was not measured."""
        return self.results.get(task, {})

    @property
    def bits_per_byte(self) -> float | None:
        """Bits per byte over all documents."""
        return self.result("bits_per_byte").get("bits_per_byte")

    @cached_property
    def documents(self) -> pd.DataFrame:
        """Columns group, kind, nats and bytes; as `by_document`."""
        rows = self.result("bits_per_byte").get("per_document", [])
        return by_document(rows, ["kind", "nats", "bytes"], self.name)

    @property
    def benchmarks(self) -> list[str]:
        """The benchmarks by which it was evaluated."""
        return [task for task in self.results if task not in MEASURES]


@dataclass(frozen=True)
class Run:
    """One run as read. Without `training` the run has not ended. `missing` are the files that are
    not there, `outdated` the measures of a model that has been trained anew since."""

    inputs: RunInputs
    training: dict[str, Any]
    model: EvaluatedModel
    student: EvaluatedModel
    teacher: EvaluatedModel | None
    alignment: dict[str, Any]
    missing: Mapping[str, Path]
    outdated: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self.inputs.name

    @property
    def series(self) -> str:
        """What runs of its kind are called."""
        return self.model.series

    @property
    def settings(self) -> config.Run:
        """All of its settings."""
        return self.inputs.settings

    @property
    def setting(self) -> tuple[str, str]:
        """Student and corpus: only runs that share them are compared."""
        return self.settings.student, self.settings.corpus

    @property
    def has_averaged_teacher(self) -> bool:
        """Whether its teacher is several models, whose bits per byte are computed by bytes, not
        tokens."""
        return self.teacher is not None and ALIGNMENT not in self.inputs.files

    @cached_property
    def metrics(self) -> pd.DataFrame | None:
        """The run's metrics, one row per step, in the order of training."""
        path = self.inputs.files[METRICS]
        return pd.read_parquet(path) if path.exists() else None


def read_runs(inputs: Sequence[RunInputs]) -> list[Run]:
    """Read all files of the runs but their metrics; their series tell them apart from each
    other."""
    series = series_of({run.name: run.settings for run in inputs})
    return [_read_run(run, series[run.name]) for run in inputs]


def read_cache(inputs: CacheInputs) -> ByteCache:
    """Read the measures of one cache."""
    measures = {name: _read(path) for name, path in inputs.files.items()}
    name = f"{inputs.teacher} on {inputs.corpus}, {inputs.split}"
    return ByteCache(name, measures["audit"], measures.get("information"))


def read_rows(splits: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """What the manifests of splits tell of their rows, of those that are there and come from
    rows."""
    read = {name: _read(path) for name, path in splits.items() if path.exists()}
    return {name: manifest["rows"] for name, manifest in read.items() if "rows" in manifest}


def _read_run(inputs: RunInputs, series: str) -> Run:
    settings, files = inputs.settings, inputs.files
    results: dict[str, dict[str, Any]] = {"run": {}, "student": {}, TEACHER: {}}
    for key, path in files.items():
        whose, _, task = key.partition("/")
        if task and path.exists():
            results[whose][task] = _read(path)
    training, alignment = (
        _read(files[key]) if key in files and files[key].exists() else {}
        for key in (TRAINING, ALIGNMENT)
    )
    digest = sha256_of(files[MODEL]) if files[MODEL].exists() else None
    outdated = [
        task for task, result in results["run"].items() if result.get("model_sha256") != digest
    ]
    of_run = {task: result for task, result in results["run"].items() if task not in outdated}
    student, corpus, teacher = settings.student, settings.corpus, settings.teacher
    return Run(
        inputs=inputs,
        training=training,
        model=EvaluatedModel(inputs.name, series, corpus, settings.seed, of_run, student, teacher),
        student=EvaluatedModel(
            student, UNTRAINED, corpus, None, results["student"], student, teacher
        ),
        teacher=(
            EvaluatedModel(teacher, TEACHER, corpus, None, results[TEACHER]) if teacher else None
        ),
        alignment=alignment,
        missing={key: path for key, path in files.items() if not path.exists()},
        outdated=outdated,
    )


def by_document(rows: Sequence[Mapping[str, Any]], columns: list[str], model: str) -> pd.DataFrame:
    """Rows with `id` and `group` as a table by id, sorted: the group and these columns. Raises
    ValueError if an id comes twice, or has no group."""
    frame = pd.DataFrame(rows, columns=["id", "group", *columns])
    twice = frame["id"].duplicated()
    if twice.any():
        raise ValueError(
            f"document {frame.loc[twice, 'id'].iloc[0]!r} was scored twice for {model!r}"
        )
    alone = frame["group"].isna()
    if alone.any():
        raise ValueError(
            f"document {frame.loc[alone, 'id'].iloc[0]!r} was scored for {model!r} without its "
            "group, as versions before 0.2 did: evaluate the model again"
        )
    return frame.set_index("id").sort_index()


def evaluated_models(runs: Sequence[Run]) -> list[EvaluatedModel]:
    """Teachers and students before training, once each, then the runs."""
    first: dict[tuple[str, str, str], EvaluatedModel] = {}
    for series in REFERENCES:
        for run in runs:
            model = run.teacher if series == TEACHER else run.student
            if model and model.results:
                first.setdefault((model.name, series, model.corpus), model)
    return [*first.values(), *(run.model for run in runs)]


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
