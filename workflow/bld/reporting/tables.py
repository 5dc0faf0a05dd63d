"""All tables of the report, from the files of its runs and byte caches; and summary.json."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bld.config.registry import losses
from bld.config.settings import Run as RunSettings
from bld.reporting import rows
from bld.reporting.comparison import Comparison, compare
from bld.reporting.inputs import ByteCache, EvaluatedModel, Run, evaluated_models
from bld.reporting.methods import method_rows, rank_rows
from bld.reporting.words import BASELINE, BITS, COLUMNS, DIVERGENCE

PARTS = {column: loss.part for column, loss in losses().items()} | {
    "dev_bits_per_byte": "development"
}
"""Columns of the metrics, with what the table of losses calls them."""


@dataclass(frozen=True)
class Tables:
    """The runs and byte caches, the comparisons, and all data of the report as tidy frames by name,
    which are also written as CSV. `incomparable` says what could not be compared, and why."""

    runs: Sequence[Run]
    caches: Sequence[ByteCache]
    comparisons: Sequence[Comparison]
    frames: Mapping[str, pd.DataFrame]
    incomparable: Sequence[str]

    @property
    def with_baseline(self) -> list[tuple[int, Comparison]]:
        """The comparisons with SFT, with their rows in the table."""
        return [x for x in enumerate(self.comparisons) if x[1].against == BASELINE]

    def summary(self) -> dict[str, Any]:
        """The contents of summary.json."""
        settings = {run.name: run.settings for run in self.runs}
        return {
            "runs": [_summary_of_run(run) for run in self.runs],
            "comparison": [
                {
                    **_method(settings[x.ours[0].name], x.series),
                    "against": BASELINE,
                    "metric": x.metric,
                    "student": x.student,
                    "corpus": x.corpus,
                    "models": [model.name for model in x.ours],
                    "against_models": [model.name for model in x.theirs],
                    "difference": x.difference.value,
                    "low": _json(x.difference.low),
                    "high": _json(x.difference.high),
                    "seeds": x.seeds,
                }
                for _, x in self.with_baseline
            ],
        }


def make_tables(runs: Sequence[Run], caches: Sequence[ByteCache] = ()) -> Tables:
    """Compute all tables.

    Raises ValueError where there is no run, or where two runs differ in nothing but their names.
    """
    if not runs:
        raise ValueError("a report needs a run and found none: add one under `runs:`")
    models = evaluated_models(runs)
    shown = _one_of_each_series(runs)
    incomparable: list[str] = []
    comparisons = compare(runs, incomparable)
    before = {run.name: run.student.bits_per_byte for run in runs}
    bytes_of = rows.own_bytes(runs)
    made: dict[str, Iterable[Mapping[str, Any]]] = {
        "models": (
            rows.model_row(model, before, bytes_of.get(rows.key_of(model), {})) for model in models
        ),
        "methods": method_rows(runs, comparisons),
        "comparison": map(rows.comparison_row, comparisons),
        "ranks": rank_rows(runs),
        # Whatever corpora a model is evaluated on, a benchmark is the same.
        "benchmarks": (
            row
            for x in {(x.name, x.series): x for x in models}.values()
            for row in rows.benchmark_rows(x)
        ),
        "alignment": rows.alignment_rows(runs),
        "costs": map(rows.cost_row, runs),
        "bits_per_byte": (row for x in models for row in rows.rows_by_kind(x)),
        "divergence": (row for x in models for row in rows.divergence_rows(x)),
        "calibration": (row for x in models for row in rows.calibration_rows(x)),
        "settings": (row for x in runs for row in rows.settings_rows(x)),
        "completions": (row for x in shown for row in rows.completion_rows(x)),
        "surprise": (row for x in shown for row in rows.surprise_rows(x)),
        "caches": map(rows.cache_row, caches),
        "audit": (row for x in caches for row in rows.audit_rows(x)),
        "audit_worst": ({"cache": x.name} | row for x in caches for row in x.audit["worst"]),
        "information": (row for x in caches for row in rows.information_rows(x)),
    }
    frames = {
        name: pd.DataFrame(list(found), columns=COLUMNS[name].split())
        for name, found in made.items()
    }
    frames["loss"] = pd.concat([rows.loss_rows(run, PARTS) for run in runs], ignore_index=True)
    for name, frame in frames.items():
        if "seed" in frame:
            frames[name] = frame.astype({"seed": "Int64"})
    return Tables(runs, caches, comparisons, frames, incomparable)


def _one_of_each_series(runs: Sequence[Run]) -> list[EvaluatedModel]:
    """The models whose texts are shown: teachers, students before, and one run of each series."""
    first: dict[tuple[str, tuple[str, str]], Run] = {}
    for run in runs:
        first.setdefault((run.series, run.setting), run)
    return evaluated_models(list(first.values()))


def _summary_of_run(run: Run) -> dict[str, Any]:
    settings, training = run.settings, run.training
    return {
        "run": run.name,
        **_method(settings, run.series),
        **{name: getattr(settings, name) for name in ("seed", "student", "teacher", "corpus")},
        BITS: run.model.bits_per_byte,
        "teacher_bits_per_byte": run.teacher.bits_per_byte if run.teacher else None,
        "student_bits_per_byte": run.student.bits_per_byte,
        DIVERGENCE: run.model.result("byte_divergence").get("jsd"),
        **{
            name: training.get(name)
            for name in ("train_seconds", "train_tokens", "gpu_hours", "head_parameters")
        },
        "tasks": {task: _numbers(result) for task, result in run.model.results.items()},
    }


def _method(settings: RunSettings, series: str) -> dict[str, str | None]:
    head = getattr(settings.taught, "head", None)
    return {"method": settings.method, "head": head, "series": series}


def _numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """Of a benchmark its metrics with their standard errors; of a measure of ours every number."""
    return {
        name: value
        for name, value in result.get("metrics", result).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
