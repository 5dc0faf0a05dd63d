"""The rows of the report's tables but those of methods: of models, comparisons, trainings, texts
and byte caches. COLUMNS in words.py says what is in each table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from bld.reporting.comparison import Comparison, paired
from bld.reporting.inputs import ByteCache, EvaluatedModel, Run
from bld.reporting.series import flat
from bld.reporting.statistics import Estimate, bits_per_byte, ratio
from bld.reporting.words import ALL, COLUMNS, TEACHER

SMOOTHING = 0.05
"""Width of the running mean as a fraction of the steps of a phase."""
SETTINGS_SHOWN_APART = ("method", "student", "teacher", "corpus", "seed")
DISTRIBUTIONS = {
    "strict": "stricter policy",
    "policy": "policy of the cache",
    "stored": "cache, as stored",
}
"""The distributions of an audit, from the reference to what students learn from."""


def _identity(model: EvaluatedModel) -> dict[str, Any]:
    names = "series", "seed", "student", "teacher", "corpus"
    return {"model": model.name} | {name: getattr(model, name) for name in names}


def key_of(model: EvaluatedModel) -> tuple[str, str, str]:
    """What tells one evaluated model from all others: name, series, corpus."""
    return model.name, model.series, model.corpus


def own_bytes(runs: Sequence[Run]) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    """The results of every model summed to bytes: of a teacher, where another was compared with
    it."""
    found: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for run in runs:
        for student in (run.model, run.student):
            models = student.result("byte_divergence").get("models", {})
            for model, whose in ((student, "student"), (run.teacher, TEACHER)):
                if model and whose in models:
                    found.setdefault(key_of(model), models[whose])
    return found


def model_row(
    model: EvaluatedModel, before: Mapping[str, float | None], own_bytes: Mapping[str, Any]
) -> dict[str, Any]:
    """A model's row: its bits per byte, before and after, and its divergence."""
    start = before.get(model.name) if model.seed is not None else None
    bits, interval = model.bits_per_byte, Estimate(math.nan, math.nan, math.nan)
    documents = model.documents
    if len(documents):
        interval = bits_per_byte(documents["nats"], documents["bytes"], documents["group"])
    return _identity(model) | {
        "bits_per_byte": bits,
        "low": interval.low,
        "high": interval.high,
        "change": None if bits is None or start is None else bits - start,
        "bits_per_byte_by_bytes": own_bytes.get("bits_per_byte"),
        "byte_jsd": model.result("byte_divergence").get("jsd"),
        "byte_kl": model.result("byte_divergence").get("kl"),
        "calibration_error": own_bytes.get("calibration_error"),
    }


def comparison_row(comparison: Comparison) -> dict[str, Any]:
    """A row per comparison: the difference, its interval and its verdict."""
    names = "series against metric student corpus verdict seconds_over memory_over"
    return {name: getattr(comparison, name) for name in names.split()} | {
        "difference": comparison.difference.value,
        "low": comparison.difference.low,
        "high": comparison.difference.high,
        "seeds": joined(comparison.seeds),
        "difference_by_seed": joined(comparison.by_seed),
        "models": joined(model.name for model in comparison.ours),
        "against_models": joined(model.name for model in comparison.theirs),
    }


def benchmark_rows(model: EvaluatedModel) -> Iterator[dict[str, Any]]:
    """A row per benchmark of a model, with an interval over groups of its questions."""
    for task in model.benchmarks:
        result = model.result(task)
        pair = paired(model, task)
        assert pair, "a benchmark holds a value for every document"
        interval = ratio(*(pair.documents[name] for name in ("total", "size", "group")))
        names = "metric value stderr higher_is_better documents few_shot chat_template limit"
        yield (
            _identity(model)
            | {name: result[name] for name in names.split()}
            | {
                "benchmark": task,
                "low": interval.low,
                "high": interval.high,
                "harness": f"lm_eval {result['harness']['lm_eval']}",
            }
        )


def cost_row(run: Run) -> dict[str, Any]:
    """What training a run has cost."""
    costs = {name: run.training.get(name) for name in COLUMNS["costs"].split()[5:]}
    return _training_identity(run) | costs


def _training_identity(run: Run) -> dict[str, Any]:
    settings = run.settings.model_dump(include={"seed", "student", "corpus"})
    return {"run": run.name, "series": run.series} | settings


def rows_by_kind(model: EvaluatedModel) -> Iterator[dict[str, Any]]:
    """A row per kind of document, and one for all."""
    documents = model.documents
    kinds = [(ALL, documents), *documents.groupby("kind", sort=True)] if len(documents) else []
    for kind, own in kinds:
        estimate = bits_per_byte(own["nats"], own["bytes"], own["group"])
        yield _identity(model) | {
            "kind": kind,
            "bits_per_byte": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "bytes": int(own["bytes"].sum()),
            "documents": len(own),
        }


def divergence_rows(model: EvaluatedModel) -> Iterator[dict[str, Any]]:
    """Of the model's own bytes overall, by kind and by place in a token; and of its byte head."""
    result = model.result("byte_divergence")
    if not result:
        return
    own = {name: result[name] for name in ("symbols", "jsd", "kl")} | {
        column: {whose: of[column] for whose, of in result["models"].items()}
        for column in ("bits_per_byte", "calibration_error")
    }
    groups = [(ALL, ALL, own)]
    groups += [("kind", kind, row) for kind, row in result["by_kind"].items()]
    groups += [("position", row["position"], row) for row in result["by_position"]]
    for by, group, row in groups:
        yield _divergence_row(model, "model", by, group, row)
    head = result["head"]
    if head:
        yield _divergence_row(model, "head", ALL, ALL, head)
        own = {"symbols": head["symbols"], "kl": None, **head["student_same"]}
        yield _divergence_row(model, "model", "head", "head", own)
        for row in head["by_position"]:
            yield _divergence_row(model, "head", "position", row["position"], row)


def _divergence_row(
    model: EvaluatedModel, of: str, by: str, group: Any, row: Mapping[str, Any]
) -> dict[str, Any]:
    """A number that is not by teacher and student is the student's, as those of heads are."""
    figures = {column: row.get(column) for column in ("bits_per_byte", "calibration_error")}
    pairs = {
        column: figure if isinstance(figure, Mapping) else {"student": figure}
        for column, figure in figures.items()
    }
    return _identity(model) | {
        "of": of,
        "by": by,
        "group": group,
        **{name: row[name] for name in ("symbols", "jsd", "kl")},
        **{
            f"{whose}_{column}": pair.get(whose)
            for column, pair in pairs.items()
            for whose in (TEACHER, "student")
        },
    }


def calibration_rows(model: EvaluatedModel) -> Iterator[dict[str, Any]]:
    """A row per bin of probability, of a model and of its byte head."""
    result = model.result("byte_divergence")
    parts = {**result.get("models", {}), "head": result.get("head") or {}}
    for of, part in parts.items():
        for row in part.get("calibration", []):
            yield _identity(model) | {"of": of} | row


def settings_rows(run: Run) -> Iterator[dict[str, Any]]:
    """A row per setting that a run does not leave at its default."""
    for name, value in flat(run.inputs.changed):
        if name not in SETTINGS_SHOWN_APART:
            yield {"setting": name, "run": run.name, "value": value}


def completion_rows(model: EvaluatedModel) -> Iterator[dict[str, Any]]:
    """A row per prompt, with what the model wrote."""
    for row in model.result("text").get("completions", []):
        yield {"model": model.name, "series": model.series} | row


def surprise_rows(model: EvaluatedModel) -> Iterator[dict[str, Any]]:
    """A row per character: what its bytes cost together."""
    passage = model.result("text").get("passage")
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


def loss_rows(run: Run, parts: Mapping[str, str]) -> pd.DataFrame:
    """The parts of the loss that the objective has, and bits per byte on the development split,
    with their running means; steps are counted from 1 in each phase. `parts` names columns of the
    metrics."""
    columns = COLUMNS["loss"].split()
    metrics = run.metrics
    if metrics is None:
        return pd.DataFrame(columns=columns)
    curves = (
        metrics[["phase", "step", *(column for column in parts if column in metrics)]]
        .melt(id_vars=["phase", "step"], var_name="part", value_name="loss")
        .dropna(subset="loss")
        .astype({"loss": "float64"})
    )
    curves["part"] = curves["part"].map(parts)
    curves["step"] -= curves["phase"].map(metrics.groupby("phase")["step"].min()) - 1
    curves = curves.sort_values(["phase", "part", "step"], ignore_index=True)
    curves["running_mean"] = curves.groupby(["phase", "part"])["loss"].transform(_running_mean)
    return pd.DataFrame(_training_identity(run), index=curves.index).join(curves)[columns]


def _running_mean(loss: pd.Series) -> pd.Series:
    window = max(1, round(SMOOTHING * len(loss)))
    return loss.rolling(window, center=True, min_periods=1).mean()


def alignment_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """How the tokens of each student and teacher align on a corpus: what methods can learn from.

    Tokens are aligned that spell the same bytes; a boundary is a byte at which tokens of both end,
    and a chunk reaches from one to the next.
    """
    rows: dict[tuple[str | None, ...], dict[str, Any]] = {}
    for run in runs:
        if run.alignment:
            student, corpus = run.setting
            identity = {"student": student, "teacher": run.settings.teacher, "corpus": corpus}
            rows.setdefault(tuple(identity.values()), identity | _alignment(run.alignment))
    return list(rows.values())


def _alignment(counts: Mapping[str, Any]) -> dict[str, Any]:
    entries, tokens = counts["vocabulary"], counts["tokens"]
    total, shared = counts["bytes"]["total"], counts["bytes"]["shared_boundary"]
    aligned = _fraction(tokens["aligned"], tokens["student"])
    return {
        "documents": counts["documents"],
        **{f"{whose}_entries": entries[whose] for whose in ("student", "teacher", "shared")},
        "shared_of_student": _fraction(entries["shared"], entries["student"]),
        "shared_of_teacher": _fraction(entries["shared"], entries["teacher"]),
        **{f"{whose}_tokens": tokens[whose] for whose in ("student", "teacher", "aligned")},
        "aligned_of_student": aligned,
        "aligned_of_teacher": _fraction(tokens["aligned"], tokens["teacher"]),
        "left_over": None if aligned is None else 1 - aligned,
        "bytes": total,
        "shared_boundaries": shared,
        "boundary_share": _fraction(shared, total),
        "bytes_per_chunk": _fraction(total, shared),
    }


def _fraction(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def cache_row(cache: ByteCache) -> dict[str, Any]:
    """A byte cache's row: sizes, the mass that it lost, and information."""
    audit, information = cache.audit, cache.information
    lost, storage = audit["lost_mass"], audit["storage"]
    row = {
        "cache": cache.name,
        "documents": audit["documents"],
        "bytes": audit["bytes"],
        "disk_per_byte": audit["bytes_on_disk"] / audit["supervised_bytes"],
        "lost_mean": lost["mean"],
        "lost_max": lost["max"],
        "lost_exceeded": lost["exceeded"],
        "moved": audit["total_variation"]["policy"]["mean"],
        "storage_kl": storage["kl"],
        "storage_share": storage["share_of_entropy"],
        **audit["bits_per_byte"],
        "strict_lost": audit["true_byte_lost"]["strict"],
        "stored_lost": audit["true_byte_lost"]["stored"],
    }
    if information is None:
        return row
    beyond = information["beyond_heads"]
    return row | {
        "token_bits": information["token_bits"],
        "byte_bits": information["byte_bits"],
        "known": information["ratio"],
        "first_byte": information["by_position"][0]["known"],
        "beyond_bytes": beyond["bytes"],
        "beyond_bits": beyond["byte_bits"],
    }


def audit_rows(cache: ByteCache) -> Iterator[dict[str, Any]]:
    """A row for each distribution; the stricter policy has no distance to itself."""
    audit = cache.audit
    for name in DISTRIBUTIONS:
        distances = {
            f"{measure}_{which}": value
            for measure in ("jsd", "total_variation")
            for which, value in audit[measure].get(name, {}).items()
        }
        yield distances | {
            "cache": cache.name,
            "distribution": name,
            "bits_per_byte": audit["bits_per_byte"][name],
            "true_byte_lost": audit["true_byte_lost"][name],
        }


def information_rows(cache: ByteCache) -> Iterator[dict[str, Any]]:
    """`bytes` is a position in the token or its length, as `by` says; 11 stands for all from there
    on."""
    for by in ("position", "length"):
        for row in (cache.information or {}).get(f"by_{by}", []):
            yield {"cache": cache.name, "by": by, "bytes": row[by]} | row


def joined(values: Iterable[Any]) -> str:
    """Several values in one cell of a CSV file."""
    return " ".join(str(value) for value in values)
