"""The rows of the tables: what is told of every model, comparison, training and text.

The frames that they make are tidy; COLUMNS says what is in each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bld.reporting.comparison import Comparison, paired
from bld.reporting.inputs import TEACHER, Judged, Run
from bld.reporting.series import flat
from bld.reporting.statistics import Estimate, bits_per_byte, ratio

ALL = "all"
SETTINGS_SHOWN_APART = ("method", "student", "teacher", "corpus", "seed")

COLUMNS = {
    "models": (
        "model series seed corpus bits_per_byte low high change bits_per_byte_by_bytes byte_jsd byte_kl "
        "calibration_error teacher"
    ),
    "comparison": (
        "series against metric student corpus difference low high verdict seeds difference_by_seed models "
        "against_models seconds_over memory_over"
    ),
    "benchmarks": (
        "model series seed benchmark metric value stderr low high higher_is_better documents few_shot chat_template limit "
        "harness"
    ),
    "methods": (
        "series student corpus models seeds bits_per_byte low high difference difference_low difference_high verdict "
        "train_seconds train_seconds_over peak_memory_bytes peak_memory_bytes_over gpu_hours gpu_hours_over "
        "tokens_per_second tokens_per_second_over"
    ),
    "ranks": "series student corpus models seeds methods documents rank low high",
    "alignment": (
        "student teacher corpus documents student_entries teacher_entries shared_entries shared_of_student "
        "shared_of_teacher student_tokens teacher_tokens aligned_tokens aligned_of_student aligned_of_teacher left_over bytes "
        "shared_boundaries boundary_share bytes_per_chunk"
    ),
    "costs": (
        "run series seed student corpus train_seconds train_tokens tokens_per_second gpu_hours peak_memory_bytes "
        "head_parameters device"
    ),
    "bits_per_byte": "model series seed student corpus kind bits_per_byte low high bytes documents",
    "loss": "run series seed student corpus phase step part loss running_mean",
    "divergence": (
        "model series seed student corpus of by group symbols jsd kl teacher_bits_per_byte student_bits_per_byte "
        "teacher_calibration_error student_calibration_error"
    ),
    "calibration": "model series seed student corpus teacher of low high symbols confidence accuracy",
    "settings": "setting run value",
    "completions": "model series prompt completion ended",
    "surprise": "model series document character text bits",
}  # fmt: skip


def _identity(model: Judged) -> dict[str, Any]:
    names = "series", "seed", "student", "teacher", "corpus"
    return {"model": model.name} | {name: getattr(model, name) for name in names}


def key_of(model: Judged) -> tuple[str, str, str]:
    return model.name, model.series, model.corpus


def own_bytes(runs: Sequence[Run]) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    """What summing to bytes found of every model: of a teacher, where any other was held against it."""
    found: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for run in runs:
        for held in (run.judged, run.student):
            models = held.figures("byte_divergence").get("models", {})
            for model, whose in ((held, "student"), (run.teacher, TEACHER)):
                if model and whose in models:
                    found.setdefault(key_of(model), models[whose])
    return found


def model_row(
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


def comparison_row(one: Comparison) -> dict[str, Any]:
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
        "seeds": joined(one.seeds),
        "difference_by_seed": joined(one.by_seed),
        "models": joined(model.name for model in one.ours),
        "against_models": joined(model.name for model in one.theirs),
        "seconds_over": one.seconds_over,
        "memory_over": one.memory_over,
    }


def benchmark_rows(model: Judged) -> Iterator[dict[str, Any]]:
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


def cost_row(run: Run) -> dict[str, Any]:
    settings = run.settings
    return {
        "run": run.name,
        "series": run.series,
        "seed": settings["seed"],
        "student": settings["student"],
        "corpus": settings["corpus"],
    } | {name: run.training.get(name) for name in COLUMNS["costs"].split()[5:]}


def rows_by_kind(model: Judged) -> Iterator[dict[str, Any]]:
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


def divergence_rows(model: Judged) -> Iterator[dict[str, Any]]:
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
        own = {"symbols": head["symbols"], "kl": None, **head["student_same"]}
        yield _divergence_row(model, "model", "head", "head", own)
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


def calibration_rows(model: Judged) -> Iterator[dict[str, Any]]:
    found = model.figures("byte_divergence")
    parts = {**found.get("models", {}), "head": found.get("head") or {}}
    for of, part in parts.items():
        for row in part.get("calibration", []):
            yield _identity(model) | {"of": of} | row


def settings_rows(run: Run) -> Iterator[dict[str, Any]]:
    for name, value in flat(run.inputs.changed):
        if name not in SETTINGS_SHOWN_APART:
            yield {"setting": name, "run": run.name, "value": value}


def completion_rows(model: Judged) -> Iterator[dict[str, Any]]:
    for row in model.figures("text").get("completions", []):
        yield {"model": model.name, "series": model.series} | row


def surprise_rows(model: Judged) -> Iterator[dict[str, Any]]:
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


def joined(values: Iterable[Any]) -> str:
    """Several values in one cell of a CSV file."""
    return " ".join(str(value) for value in values)
