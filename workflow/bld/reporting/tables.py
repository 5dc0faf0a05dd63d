"""From the files of the runs to the tables behind every number and every line of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bld.reporting.comparison import BASELINE, Comparison, compare
from bld.reporting.inputs import Run, RunInputs, Scores, read_metrics, read_run
from bld.reporting.statistics import bits_per_byte

TEACHER = "teacher"
UNTRAINED = "untrained student"
ALL_KINDS = "all"
PARTS = ("token", "byte", "kl")
SMOOTHING = 0.05
"""Width of the running mean as a share of the steps of a phase."""

RUN_COLUMNS = (
    "run", "method", "head", "seed", "student", "teacher", "bits_per_byte", "teacher_bits_per_byte",
    "student_bits_per_byte", "byte_jsd", "train_seconds", "train_tokens", "gpu_hours",
    "head_parameters",
)  # fmt: skip

COMPARISON_COLUMNS = [
    "method", "head", "against", "metric", "student", "corpus", "difference", "low", "high", "seeds",
    "difference_by_seed", "runs", "against_runs",
]  # fmt: skip


@dataclass(frozen=True)
class Tables:
    """All data of the report; the frames are tidy and are also written as CSV.

    runs: one row per run. comparison: one row per comparison. loss: run, series, seed, phase, step,
    part, loss, running_mean. bits_per_byte: model (teacher, untrained student or a run), series
    (teacher, untrained student, or a method with its head), seed, corpus, kind ("all" or one kind of document),
    bits_per_byte, low, high, bytes, documents.
    """

    inputs: Sequence[Run]
    comparisons: list[Comparison]
    runs: pd.DataFrame
    comparison: pd.DataFrame
    loss: pd.DataFrame
    bits_per_byte: pd.DataFrame

    def summary(self) -> dict[str, Any]:
        """The contents of summary.json."""
        runs = [
            {column: _json(row[column]) for column in RUN_COLUMNS} | {"tasks": _numbers(run.tasks)}
            for run, row in zip(self.inputs, self.runs.to_dict("records"), strict=True)
        ]
        comparison = [
            {
                "method": entry.method,
                "head": entry.head,
                "against": BASELINE,
                "metric": "bits_per_byte",
                "difference": entry.difference.value,
                "low": _json(entry.difference.low),
                "high": _json(entry.difference.high),
                "seeds": entry.seeds,
            }
            for entry in self.comparisons
        ]
        return {"runs": runs, "comparison": comparison}


def read_tables(inputs: Sequence[RunInputs]) -> Tables:
    """Read every run and work out all tables.

    Raises ValueError where there is no run, or where runs cannot be compared.
    """
    if not inputs:
        raise ValueError("a report needs a run and found none: add one under `runs:`")
    runs = [read_run(one) for one in inputs]
    comparisons = compare(runs)
    return Tables(
        inputs=runs,
        comparisons=comparisons,
        runs=pd.DataFrame([_run_row(run) for run in runs]),
        comparison=_comparison_table(comparisons),
        loss=pd.concat([loss_curves(one, read_metrics(one)) for one in inputs], ignore_index=True),
        bits_per_byte=_bits_per_byte_table(runs),
    )


def loss_curves(inputs: RunInputs, metrics: pd.DataFrame) -> pd.DataFrame:
    """The parts of the loss that the objective has; steps are counted from 1 in each phase."""
    columns = [f"{part}_loss" for part in PARTS]
    curves = (
        metrics[["phase", "step", *columns]]
        .melt(id_vars=["phase", "step"], var_name="part", value_name="loss")
        .dropna(subset="loss")
        .astype({"loss": "float64"})
    )
    curves["part"] = curves["part"].str.removesuffix("_loss")
    curves["step"] -= curves.groupby("phase")["step"].transform("min") - 1
    curves = curves.sort_values(["phase", "part", "step"], ignore_index=True)
    curves["running_mean"] = curves.groupby(["phase", "part"])["loss"].transform(_running_mean)
    identity = {"run": inputs.name, "series": inputs.series, "seed": inputs.seed}
    return pd.DataFrame(identity, index=curves.index).join(curves)


def _running_mean(loss: pd.Series) -> pd.Series:
    window = max(1, round(SMOOTHING * len(loss)))
    return loss.rolling(window, center=True, min_periods=1).mean()


def _run_row(run: Run) -> dict[str, Any]:
    inputs, training = run.inputs, run.training
    divergence = run.tasks.get("byte_divergence")
    return {
        "run": inputs.name,
        "method": inputs.method,
        "head": inputs.head,
        "series": inputs.series,
        "seed": inputs.seed,
        "student": inputs.student,
        "teacher": inputs.teacher,
        "corpus": inputs.corpus,
        "bits_per_byte": run.scores.bits_per_byte,
        "teacher_bits_per_byte": _bits(run.teacher),
        "student_bits_per_byte": _bits(run.student),
        "byte_jsd": divergence["jsd"] if divergence else None,
        "train_seconds": training["train_seconds"],
        "train_tokens": training["train_tokens"],
        "gpu_hours": training["gpu_hours"],
        "head_parameters": training["head_parameters"],
    } | {
        f"{task}.{metric}": value
        for task, metrics in _numbers(run.tasks).items()
        for metric, value in metrics.items()
    }


def _comparison_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    rows = [
        {
            "method": entry.method,
            "head": entry.head,
            "against": BASELINE,
            "metric": "bits_per_byte",
            "student": entry.student,
            "corpus": entry.corpus,
            "difference": entry.difference.value,
            "low": entry.difference.low,
            "high": entry.difference.high,
            "seeds": _joined(entry.seeds),
            "difference_by_seed": _joined(entry.by_seed),
            "runs": _joined(entry.runs),
            "against_runs": _joined(entry.baseline_runs),
        }
        for entry in comparisons
    ]
    return pd.DataFrame(rows, columns=COMPARISON_COLUMNS)


def _bits_per_byte_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Teachers and untrained students once each, then the runs."""
    models: dict[tuple[Any, ...], Scores] = {}
    for run in runs:
        if run.teacher:
            models.setdefault((run.inputs.teacher, TEACHER, None, run.inputs.corpus), run.teacher)
        if run.student:
            models.setdefault((run.inputs.student, UNTRAINED, None, run.inputs.corpus), run.student)
    for run in runs:
        models[(run.name, run.inputs.series, run.inputs.seed, run.inputs.corpus)] = run.scores
    return pd.DataFrame(
        [
            dict(zip(("model", "series", "seed", "corpus"), key, strict=True)) | row
            for key, scores in models.items()
            for row in _by_kind(scores)
        ]
    ).astype({"seed": "Int64"})


def _by_kind(scores: Scores) -> list[dict[str, Any]]:
    documents = scores.documents
    groups = [(ALL_KINDS, documents), *documents.groupby("kind", sort=True)]
    rows = []
    for kind, group in groups:
        estimate = bits_per_byte(group["nats"].to_numpy(), group["bytes"].to_numpy())
        rows.append(
            {
                "kind": kind,
                "bits_per_byte": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "bytes": int(group["bytes"].sum()),
                "documents": len(group),
            }
        )
    return rows


def _bits(scores: Scores | None) -> float | None:
    return scores.bits_per_byte if scores else None


def _numbers(tasks: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    return {
        task: {
            metric: value
            for metric, value in figures.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        for task, figures in tasks.items()
    }


def _joined(values: Sequence[Any]) -> str:
    return " ".join(str(value) for value in values)


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
