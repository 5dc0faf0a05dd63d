"""What the report reads: the files that training and evaluation leave behind for every run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class RunInputs:
    """One run and its files.

    `settings` are the run's resolved settings as JSON would hold them, without its name or any path:
    runs that differ in nothing but seeds are pooled. `head`: what gives the
    student's byte distributions, where the method needs one. `evaluation`, `teacher_evaluation` and
    `student_evaluation` map a task to its JSON file; the last two are of the teacher and of the
    student before training, and None where that model was not evaluated.
    """

    name: str
    method: str
    seed: int
    student: str
    teacher: str | None
    corpus: str
    settings: Mapping[str, Any]
    metrics: Path
    training: Path
    evaluation: Mapping[str, Path]
    teacher_evaluation: Mapping[str, Path] | None = None
    student_evaluation: Mapping[str, Path] | None = None
    head: str | None = None

    @property
    def series(self) -> str:
        """What the run is an example of: its method, and its byte head if it has one."""
        return f"{self.method} {self.head}" if self.head else self.method


@dataclass(frozen=True)
class Scores:
    """One model's `bits_per_byte.json`: the figures, and nats and bytes by document."""

    model: str
    figures: dict[str, Any]

    @property
    def bits_per_byte(self) -> float:
        return self.figures["bits_per_byte"]

    @cached_property
    def documents(self) -> pd.DataFrame:
        """Columns kind, nats and bytes, by document id, sorted. ValueError if an id comes twice."""
        frame = pd.DataFrame(self.figures["per_document"], columns=["id", "kind", "nats", "bytes"])
        twice = frame["id"].duplicated()
        if twice.any():
            document = frame.loc[twice, "id"].iloc[0]
            raise ValueError(f"document {document!r} was scored twice for {self.model!r}")
        return frame.set_index("id").sort_index()


@dataclass(frozen=True)
class Run:
    """One run as read: `tasks` holds the figures of every evaluation by task."""

    inputs: RunInputs
    training: dict[str, Any]
    tasks: dict[str, dict[str, Any]]
    scores: Scores
    teacher: Scores | None
    student: Scores | None

    @property
    def name(self) -> str:
        return self.inputs.name


def read_run(inputs: RunInputs) -> Run:
    """Read all files of a run but its metrics. ValueError if the run has no bits per byte."""
    tasks = {task: _read(path) for task, path in inputs.evaluation.items()}
    if "bits_per_byte" not in tasks:
        raise ValueError(
            f"run {inputs.name!r} has no bits_per_byte evaluation, only {sorted(tasks)}: "
            "add bits_per_byte to evaluation.tasks"
        )
    return Run(
        inputs=inputs,
        training=_read(inputs.training),
        tasks=tasks,
        scores=Scores(inputs.name, tasks["bits_per_byte"]),
        teacher=_scores(f"teacher {inputs.teacher}", inputs.teacher_evaluation),
        student=_scores(f"student {inputs.student}", inputs.student_evaluation),
    )


def read_metrics(inputs: RunInputs) -> pd.DataFrame:
    """The run's metrics, one row per step, in the order of training."""
    return pd.read_parquet(inputs.metrics)


def _scores(model: str, evaluation: Mapping[str, Path] | None) -> Scores | None:
    if evaluation is None or "bits_per_byte" not in evaluation:
        return None
    return Scores(model, _read(evaluation["bits_per_byte"]))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(Path(path).read_text(encoding="utf-8"))
