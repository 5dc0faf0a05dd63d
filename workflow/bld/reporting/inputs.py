"""What the report reads: the files that training and evaluation leave behind for every run.

What is not there is missing from the report too, which says so: a page about what there is is worth more in the morning than
none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bld.files import sha256_of
from bld.reporting.series import series_of
from bld.reporting.words import TEACHER, UNTRAINED

REFERENCES = (TEACHER, UNTRAINED)
"""Series of models that no method trained."""
METRICS, TRAINING, MODEL, ALIGNMENT = "metrics", "training", "model", "alignment"
MEASURES = ("bits_per_byte", "byte_divergence", "text")
"""What is measured by this project itself; all else that is found of a model is a benchmark."""


@dataclass(frozen=True)
class RunInputs:
    """One run: its resolved settings as JSON would hold them, those of them that were changed, and its
    files.

    The keys of `files` are `metrics`, `training` and `model` (the manifest of its folder), and `run/X`,
    `student/X` and `teacher/X` for what the measure or benchmark X found of the run, of its student
    before training and of its teacher; and, where there is a teacher with tokens of its own,
    `alignment`, how its tokens and the student's fit.
    """

    name: str
    settings: Mapping[str, Any]
    files: Mapping[str, Path]
    changed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """A model that was judged, and what every measure and benchmark found of it.

    `series` is that of a run (see `series`), or what the model is if no method trained it; `student` the
    one that it is or comes from, `teacher` the one that it is held against; a teacher has neither.
    """

    name: str
    series: str
    corpus: str
    seed: int | None
    found: Mapping[str, dict[str, Any]]
    student: str | None = None
    teacher: str | None = None

    def figures(self, task: str) -> dict[str, Any]:
        """What was found; nothing where it was not measured."""
        return self.found.get(task, {})

    @property
    def bits_per_byte(self) -> float | None:
        return self.figures("bits_per_byte").get("bits_per_byte")

    @cached_property
    def documents(self) -> pd.DataFrame:
        """Columns kind, nats and bytes, by document id, sorted. ValueError if an id comes twice."""
        rows = self.figures("bits_per_byte").get("per_document", [])
        return by_document(rows, ["kind", "nats", "bytes"], self.name)

    @property
    def benchmarks(self) -> list[str]:
        return [task for task in self.found if task not in MEASURES]


@dataclass(frozen=True)
class Run:
    """One run as read. Without `training` the run has not ended. `missing` are the files that are not
    there, `outdated` the measures of a model that has been trained anew since."""

    inputs: RunInputs
    training: dict[str, Any]
    judged: Judged
    student: Judged
    teacher: Judged | None
    alignment: dict[str, Any]
    missing: Mapping[str, Path]
    outdated: Sequence[str] = ()

    @property
    def name(self) -> str:
        return self.inputs.name

    @property
    def series(self) -> str:
        return self.judged.series

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.inputs.settings

    @property
    def setting(self) -> tuple[str, str]:
        """Student and corpus: only runs that share them are compared."""
        return self.settings["student"], self.settings["corpus"]

    @property
    def has_averaged_teacher(self) -> bool:
        """Whether its teacher is several models, and so has no tokens by which to be judged."""
        return self.teacher is not None and ALIGNMENT not in self.inputs.files

    @cached_property
    def metrics(self) -> pd.DataFrame | None:
        """The run's metrics, one row per step, in the order of training."""
        path = self.inputs.files[METRICS]
        return pd.read_parquet(path) if path.exists() else None


def read_runs(inputs: Sequence[RunInputs]) -> list[Run]:
    """Read all files of the runs but their metrics; their series tell them apart from each other."""
    series = series_of({one.name: one.settings for one in inputs})
    return [_read_run(one, series[one.name]) for one in inputs]


def _read_run(inputs: RunInputs, series: str) -> Run:
    settings, files = inputs.settings, inputs.files
    found: dict[str, dict[str, Any]] = {"run": {}, "student": {}, TEACHER: {}}
    for key, path in files.items():
        whose, _, task = key.partition("/")
        if task and path.exists():
            found[whose][task] = _read(path)
    training, alignment = (
        _read(files[key]) if key in files and files[key].exists() else {}
        for key in (TRAINING, ALIGNMENT)
    )
    model = sha256_of(files[MODEL]) if files[MODEL].exists() else None
    outdated = [
        task for task, figures in found["run"].items() if figures.get("model_sha256") != model
    ]
    of_run = {task: figures for task, figures in found["run"].items() if task not in outdated}
    student, corpus, teacher = (settings[name] for name in ("student", "corpus", "teacher"))
    return Run(
        inputs=inputs,
        training=training,
        judged=Judged(inputs.name, series, corpus, settings["seed"], of_run, student, teacher),
        student=Judged(student, UNTRAINED, corpus, None, found["student"], student, teacher),
        teacher=Judged(teacher, TEACHER, corpus, None, found[TEACHER]) if teacher else None,
        alignment=alignment,
        missing={key: path for key, path in files.items() if not path.exists()},
        outdated=outdated,
    )


def by_document(rows: Sequence[Mapping[str, Any]], columns: list[str], model: str) -> pd.DataFrame:
    """Rows with an `id` as a table by it, sorted. Raises ValueError if one comes twice."""
    frame = pd.DataFrame(rows, columns=["id", *columns])
    twice = frame["id"].duplicated()
    if twice.any():
        raise ValueError(
            f"document {frame.loc[twice, 'id'].iloc[0]!r} was scored twice for {model!r}"
        )
    return frame.set_index("id").sort_index()


def judged_models(runs: Sequence[Run]) -> list[Judged]:
    """Teachers and students before training, once each, then the runs."""
    first: dict[tuple[str, str, str], Judged] = {}
    for series in REFERENCES:
        for run in runs:
            model = run.teacher if series == TEACHER else run.student
            if model and model.found:
                first.setdefault((model.name, series, model.corpus), model)
    return [*first.values(), *(run.judged for run in runs)]


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
