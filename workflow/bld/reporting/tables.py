"""From the files of the runs to the tables behind every number and every line of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bld.reporting.alignment import alignment_rows
from bld.reporting.comparison import BITS, DIVERGENCE, Comparison, compare
from bld.reporting.inputs import Judged, Run, judged_models
from bld.reporting.methods import method_rows
from bld.reporting.ranks import rank_rows
from bld.reporting.rows import (
    COLUMNS,
    benchmark_rows,
    calibration_rows,
    comparison_row,
    completion_rows,
    cost_row,
    divergence_rows,
    key_of,
    model_row,
    own_bytes,
    rows_by_kind,
    settings_rows,
    surprise_rows,
)
from bld.reporting.series import BASELINE

PARTS = {
    "token_loss": "token",
    "byte_loss": "byte",
    "kl_loss": "kl",
    "teacher_loss": "teacher",
    "dev_bits_per_byte": "development",
}
SMOOTHING = 0.05
"""Width of the running mean as a share of the steps of a phase."""


@dataclass(frozen=True)
class Tables:
    """The runs, their comparisons, and all data of the report as tidy frames by name, which are also
    written as CSV; COLUMNS says what is in each."""

    runs: Sequence[Run]
    comparisons: Sequence[Comparison]
    frames: Mapping[str, pd.DataFrame]
    incomparable: Sequence[str]

    @property
    def several(self) -> tuple[bool, bool]:
        """Whether there are several students, and several corpora."""
        students, corpora = zip(*(run.setting for run in self.runs), strict=True)
        return len(set(students)) > 1, len(set(corpora)) > 1

    def summary(self) -> dict[str, Any]:
        """The contents of summary.json."""
        compared = [one for one in self.comparisons if one.against == BASELINE]
        settings = {run.name: run.settings for run in self.runs}
        return {
            "runs": [_summary_of_run(run) for run in self.runs],
            "comparison": [
                {
                    **_method(settings[one.ours[0].name], one.series),
                    "against": BASELINE,
                    "metric": one.metric,
                    "student": one.student,
                    "corpus": one.corpus,
                    "models": [model.name for model in one.ours],
                    "against_models": [model.name for model in one.theirs],
                    "difference": one.difference.value,
                    "low": _json(one.difference.low),
                    "high": _json(one.difference.high),
                    "seeds": one.seeds,
                }
                for one in compared
            ],
        }


def make_tables(runs: Sequence[Run]) -> Tables:
    """Work out all tables.

    What cannot be compared, having been judged on other documents, is said in `incomparable`. Raises
    ValueError where there is no run, or where two runs differ in nothing but their names.
    """
    if not runs:
        raise ValueError("a report needs a run and found none: add one under `runs:`")
    models = judged_models(runs)
    incomparable: list[str] = []
    comparisons = compare(runs, incomparable)
    before = {run.name: run.student.bits_per_byte for run in runs}
    bytes_of = own_bytes(runs)
    rows = {
        "models": [model_row(model, before, bytes_of.get(key_of(model), {})) for model in models],
        "comparison": [comparison_row(one) for one in comparisons],
        # Whatever corpora a model is judged on, a benchmark is the same.
        "benchmarks": [
            row
            for model in {(model.name, model.series): model for model in models}.values()
            for row in benchmark_rows(model)
        ],
        "methods": method_rows(runs, comparisons),
        "ranks": rank_rows(runs),
        "alignment": alignment_rows(runs),
        "costs": [cost_row(run) for run in runs],
        "bits_per_byte": [row for model in models for row in rows_by_kind(model)],
        "divergence": [row for model in models for row in divergence_rows(model)],
        "calibration": [row for model in models for row in calibration_rows(model)],
        "settings": [row for run in runs for row in settings_rows(run)],
        "completions": [row for model in shown_models(runs) for row in completion_rows(model)],
        "surprise": [row for model in shown_models(runs) for row in surprise_rows(model)],
    }
    frames = {
        name: pd.DataFrame(found, columns=COLUMNS[name].split()) for name, found in rows.items()
    }
    frames["loss"] = pd.concat([loss_curves(run) for run in runs], ignore_index=True)
    return Tables(
        runs,
        comparisons,
        {
            name: frame.astype({"seed": "Int64"}) if "seed" in frame else frame
            for name, frame in frames.items()
        },
        incomparable,
    )


def shown_models(runs: Sequence[Run]) -> list[Judged]:
    """The models whose texts are shown: teachers, students before, and one run of each series."""
    first: dict[tuple[str, tuple[str, str]], Run] = {}
    for run in runs:
        first.setdefault((run.series, run.setting), run)
    return judged_models(list(first.values()))


def loss_curves(run: Run) -> pd.DataFrame:
    """The parts of the loss that the objective has, and bits per byte on the development split; steps
    are counted from 1 in each phase."""
    metrics = run.metrics
    if metrics is None:
        return pd.DataFrame(columns=COLUMNS["loss"].split())
    parts = [column for column in PARTS if column in metrics]
    curves = (
        metrics[["phase", "step", *parts]]
        .melt(id_vars=["phase", "step"], var_name="part", value_name="loss")
        .dropna(subset="loss")
        .astype({"loss": "float64"})
    )
    curves["part"] = curves["part"].map(PARTS)
    curves["step"] -= curves["phase"].map(metrics.groupby("phase")["step"].min()) - 1
    curves = curves.sort_values(["phase", "part", "step"], ignore_index=True)
    curves["running_mean"] = curves.groupby(["phase", "part"])["loss"].transform(_running_mean)
    identity = {"run": run.name, "series": run.series}
    identity |= {name: run.settings[name] for name in ("seed", "student", "corpus")}
    return pd.DataFrame(identity, index=curves.index).join(curves)[COLUMNS["loss"].split()]


def _running_mean(loss: pd.Series) -> pd.Series:
    window = max(1, round(SMOOTHING * len(loss)))
    return loss.rolling(window, center=True, min_periods=1).mean()


def _summary_of_run(run: Run) -> dict[str, Any]:
    settings, training = run.settings, run.training
    return {
        "run": run.name,
        **_method(settings, run.series),
        "seed": settings["seed"],
        "student": settings["student"],
        "teacher": settings["teacher"],
        "corpus": settings["corpus"],
        BITS: run.judged.bits_per_byte,
        "teacher_bits_per_byte": run.teacher.bits_per_byte if run.teacher else None,
        "student_bits_per_byte": run.student.bits_per_byte,
        DIVERGENCE: run.judged.figures("byte_divergence").get("jsd"),
        **{
            name: training.get(name)
            for name in ("train_seconds", "train_tokens", "gpu_hours", "head_parameters")
        },
        "tasks": {task: _numbers(figures) for task, figures in run.judged.found.items()},
    }


def _method(settings: Mapping[str, Any], series: str) -> dict[str, str | None]:
    method = settings["method"]
    head = settings["bld"]["head"] if method == "bld" else None
    return {"method": method, "head": head, "series": series}


def _numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    """Of a benchmark its metrics with their standard errors; of a measure of ours every number."""
    return {
        name: value
        for name, value in figures.get("metrics", figures).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
