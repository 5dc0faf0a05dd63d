"""From the files of the runs to the tables behind every number and every line of the report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bld.reporting.comparison import BASELINE, BITS, DIVERGENCE, Comparison, compare, paired
from bld.reporting.inputs import TEACHER, Judged, Run, judged_models
from bld.reporting.statistics import Estimate, bits_per_byte, ratio

ALL = "all"
PARTS = {
    "token_loss": "token",
    "byte_loss": "byte",
    "kl_loss": "kl",
    "dev_bits_per_byte": "development",
}
SMOOTHING = 0.05
"""Width of the running mean as a share of the steps of a phase."""
SETTINGS_SHOWN_APART = ("method", "student", "teacher", "corpus", "seed")

COLUMNS = {
    "models": (
        "model series seed corpus bits_per_byte low high change bits_per_byte_by_bytes byte_jsd byte_kl calibration_error"
    ),
    "comparison": (
        "series against metric student corpus difference low high verdict seeds difference_by_seed models "
        "against_models seconds_over memory_over"
    ),
    "benchmarks": (
        "model series seed benchmark metric value stderr low high higher_is_better documents few_shot chat_template limit "
        "harness"
    ),
    "costs": (
        "run series seed student corpus train_seconds train_tokens tokens_per_second gpu_hours peak_memory_bytes "
        "head_parameters device"
    ),
    "bits_per_byte": "model series seed corpus kind bits_per_byte low high bytes documents",
    "loss": "run series seed phase step part loss running_mean",
    "divergence": (
        "model series seed corpus of by group symbols jsd kl teacher_bits_per_byte student_bits_per_byte "
        "teacher_calibration_error student_calibration_error"
    ),
    "calibration": "model series seed corpus of low high symbols confidence accuracy",
    "settings": "setting run value",
    "completions": "model series prompt completion ended",
    "surprise": "model series document character text bits",
}  # fmt: skip


@dataclass(frozen=True)
class Tables:
    """The runs, their comparisons, and all data of the report as tidy frames by name, which are also
    written as CSV; COLUMNS says what is in each."""

    runs: Sequence[Run]
    comparisons: Sequence[Comparison]
    frames: Mapping[str, pd.DataFrame]

    def summary(self) -> dict[str, Any]:
        """The contents of summary.json."""
        compared = [one for one in self.comparisons if one.against == BASELINE]
        return {
            "runs": [_summary_of_run(run) for run in self.runs],
            "comparison": [
                {
                    "method": one.ours[0].series.split()[0],
                    "head": one.ours[0].series.partition(" ")[2] or None,
                    "against": BASELINE,
                    "metric": one.metric,
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

    Raises ValueError where there is no run, or where runs cannot be compared.
    """
    if not runs:
        raise ValueError("a report needs a run and found none: add one under `runs:`")
    models = judged_models(runs)
    comparisons = compare(runs)
    before = {run.name: run.student.bits_per_byte for run in runs}
    own_bytes = _own_bytes(runs)
    rows = {
        "models": [_model_row(model, before, own_bytes.get(_key(model), {})) for model in models],
        "comparison": [_comparison_row(one) for one in comparisons],
        "benchmarks": [row for model in models for row in _benchmark_rows(model)],
        "costs": [_cost_row(run) for run in runs],
        "bits_per_byte": [row for model in models for row in _by_kind(model)],
        "divergence": [row for model in models for row in _divergence_rows(model)],
        "calibration": [row for model in models for row in _calibration_rows(model)],
        "settings": [row for run in runs for row in _settings_rows(run)],
        "completions": [row for model in shown_models(runs) for row in _completion_rows(model)],
        "surprise": [row for model in shown_models(runs) for row in _surprise_rows(model)],
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
    metrics = run.metrics()
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
    seed = run.settings["seed"]
    identity = {"run": run.name, "series": run.series, "seed": seed}
    return pd.DataFrame(identity, index=curves.index).join(curves)[COLUMNS["loss"].split()]


def _running_mean(loss: pd.Series) -> pd.Series:
    window = max(1, round(SMOOTHING * len(loss)))
    return loss.rolling(window, center=True, min_periods=1).mean()


def _identity(model: Judged) -> dict[str, Any]:
    return {"model": model.name, "series": model.series, "seed": model.seed, "corpus": model.corpus}


def _key(model: Judged) -> tuple[str, str, str]:
    return model.name, model.series, model.corpus


def _own_bytes(runs: Sequence[Run]) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    """What summing to bytes found of every model: of a teacher, where any other was held against it."""
    found: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for run in runs:
        for held in (run.judged, run.student):
            models = held.figures("byte_divergence").get("models", {})
            for model, whose in ((held, "student"), (run.teacher, TEACHER)):
                if model and whose in models:
                    found.setdefault(_key(model), models[whose])
    return found


def _model_row(
    model: Judged, before: Mapping[str, float | None], own_bytes: Mapping[str, Any]
) -> dict[str, Any]:
    start = before.get(model.name) if model.seed is not None else None
    bits, interval = model.bits_per_byte, Estimate(math.nan, math.nan, math.nan)
    if len(model.documents):
        interval = bits_per_byte(
            model.documents["nats"].to_numpy(), model.documents["bytes"].to_numpy()
        )
    return _identity(model) | {
        "bits_per_byte": bits,
        "low": interval.low,
        "high": interval.high,
        "change": None if bits is None or start is None else bits - start,
        "bits_per_byte_by_bytes": own_bytes.get("bits_per_byte"),
        "byte_jsd": model.figures("byte_divergence").get("jsd"),
        "byte_kl": model.figures("byte_divergence").get("kl"),
        "calibration_error": own_bytes.get("calibration_error"),
    }


def _comparison_row(one: Comparison) -> dict[str, Any]:
    return {
        "series": one.series,
        "against": one.against,
        "metric": one.metric,
        "student": one.student,
        "corpus": one.corpus,
        "difference": one.difference.value,
        "low": one.difference.low,
        "high": one.difference.high,
        "verdict": one.verdict,
        "seeds": _joined(one.seeds),
        "difference_by_seed": _joined(one.by_seed),
        "models": _joined(model.name for model in one.ours),
        "against_models": _joined(model.name for model in one.theirs),
        "seconds_over": one.seconds_over,
        "memory_over": one.memory_over,
    }


def _benchmark_rows(model: Judged) -> Iterator[dict[str, Any]]:
    for task in model.benchmarks:
        figures = model.figures(task)
        found = paired(model, task)
        assert found, "a benchmark holds a value for every document"
        interval = ratio(found.documents["total"].to_numpy(), found.documents["size"].to_numpy())
        names = "metric value stderr higher_is_better documents few_shot chat_template limit"
        yield (
            _identity(model)
            | {name: figures[name] for name in names.split()}
            | {
                "benchmark": task,
                "low": interval.low,
                "high": interval.high,
                "harness": f"lm_eval {figures['harness']['lm_eval']}",
            }
        )


def _cost_row(run: Run) -> dict[str, Any]:
    settings = run.settings
    return {
        "run": run.name,
        "series": run.series,
        "seed": settings["seed"],
        "student": settings["student"],
        "corpus": settings["corpus"],
    } | {name: run.training.get(name) for name in COLUMNS["costs"].split()[5:]}


def _by_kind(model: Judged) -> Iterator[dict[str, Any]]:
    documents = model.documents
    groups = [(ALL, documents), *documents.groupby("kind", sort=True)] if len(documents) else []
    for kind, group in groups:
        estimate = bits_per_byte(group["nats"].to_numpy(), group["bytes"].to_numpy())
        yield _identity(model) | {
            "kind": kind,
            "bits_per_byte": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "bytes": int(group["bytes"].sum()),
            "documents": len(group),
        }


def _divergence_rows(model: Judged) -> Iterator[dict[str, Any]]:
    """Of the model's own bytes overall, by kind and by place in a token; and of its byte head."""
    found = model.figures("byte_divergence")
    if not found:
        return
    own = {
        "symbols": found["symbols"],
        "jsd": found["jsd"],
        "kl": found["kl"],
        **{
            figure: {who: of[figure] for who, of in found["models"].items()}
            for figure in ("bits_per_byte", "calibration_error")
        },
    }
    groups = [(ALL, ALL, own)]
    groups += [("kind", kind, row) for kind, row in found["by_kind"].items()]
    groups += [("position", row["position"], row) for row in found["by_position"]]
    for by, group, row in groups:
        yield _divergence_row(model, "model", by, group, row)
    head = found["head"]
    if head:
        yield _divergence_row(model, "head", ALL, ALL, head)
        for row in head["by_position"]:
            yield _divergence_row(model, "head", "position", row["position"], row)


def _divergence_row(
    model: Judged, of: str, by: str, group: Any, row: Mapping[str, Any]
) -> dict[str, Any]:
    return _identity(model) | {
        "of": of,
        "by": by,
        "group": group,
        "symbols": row["symbols"],
        "jsd": row["jsd"],
        "kl": row["kl"],
        **{
            f"{who}_{figure}": _of(row.get(figure), who)
            for figure in ("bits_per_byte", "calibration_error")
            for who in (TEACHER, "student")
        },
    }


def _of(figure: Any, who: str) -> float | None:
    """A figure of the teacher or the student, where there are both; of a head it is the student's."""
    if isinstance(figure, Mapping):
        return figure[who]
    return figure if who == "student" else None


def _calibration_rows(model: Judged) -> Iterator[dict[str, Any]]:
    found = model.figures("byte_divergence")
    parts = {**found.get("models", {}), "head": found.get("head") or {}}
    for of, part in parts.items():
        for row in part.get("calibration", []):
            yield _identity(model) | {"of": of} | row


def _settings_rows(run: Run) -> Iterator[dict[str, Any]]:
    for name, value in flat(run.inputs.changed):
        if name not in SETTINGS_SHOWN_APART:
            yield {"setting": name, "run": run.name, "value": value}


def _completion_rows(model: Judged) -> Iterator[dict[str, Any]]:
    for row in model.figures("text").get("completions", []):
        yield {"model": model.name, "series": model.series} | row


def _surprise_rows(model: Judged) -> Iterator[dict[str, Any]]:
    """A row per character: what its bytes cost together."""
    passage = model.figures("text").get("passage")
    if not passage:
        return
    bits, first = passage["bits"], 0
    for place, character in enumerate(passage["text"]):
        size = len(character.encode())
        own = bits[first : first + size]
        yield {
            "model": model.name,
            "series": model.series,
            "document": passage["id"],
            "character": place,
            "text": character,
            "bits": None if None in own else sum(own),
        }
        first += size


def _summary_of_run(run: Run) -> dict[str, Any]:
    settings, training = run.settings, run.training
    return {
        "run": run.name,
        "method": settings["method"],
        "head": run.series.partition(" ")[2] or None,
        "seed": settings["seed"],
        "student": settings["student"],
        "teacher": settings["teacher"],
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


def _numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    """Of a benchmark its metrics with their standard errors; of a measure of ours every number."""
    return {
        name: value
        for name, value in figures.get("metrics", figures).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as (dotted name, value)."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _joined(values: Any) -> str:
    return " ".join(str(value) for value in values)


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
