"""How the report and model cards put things: what they call what they compare, the report's tables,
and numbers as people read them.

The rules read it too, so it imports nothing that takes time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

BASELINE = "sft"
TEACHER = "teacher"
UNTRAINED = "untrained student"
REFERENCES = (TEACHER, UNTRAINED)
"""Series of models that no method trained."""
BITS, DIVERGENCE = "bits_per_byte", "byte_jsd"
ALL = "all"
MIN_RANKED = 3
"""Fewest methods that are ranked; of two, the difference says all."""
METRIC_WORDS = {BITS: "bits per byte", DIVERGENCE: "JSD to the teacher"}
VERDICTS = {
    "better": "better",
    "worse": "worse",
    "not shown": "no difference shown",
    "baseline": "the baseline",
    "not compared": "not compared",
}

COLUMNS = {
    "models": (
        "model series seed corpus bits_per_byte low high change bits_per_byte_by_bytes byte_jsd "
        "byte_kl calibration_error teacher"
    ),
    "methods": (
        "series student corpus models seeds bits_per_byte low high difference difference_low "
        "difference_high verdict train_seconds train_seconds_over peak_memory_bytes "
        "peak_memory_bytes_over gpu_hours gpu_hours_over tokens_per_second tokens_per_second_over"
    ),
    "comparison": (
        "series against metric student corpus difference low high verdict seeds difference_by_seed "
        "models against_models seconds_over memory_over"
    ),
    "ranks": "series student corpus models seeds methods documents rank low high",
    "benchmarks": (
        "model series seed benchmark metric value stderr low high higher_is_better documents "
        "few_shot chat_template limit harness"
    ),
    "alignment": (
        "student teacher corpus documents student_entries teacher_entries shared_entries "
        "shared_of_student shared_of_teacher student_tokens teacher_tokens aligned_tokens "
        "aligned_of_student aligned_of_teacher left_over bytes shared_boundaries boundary_share "
        "bytes_per_chunk"
    ),
    "costs": (
        "run series seed student corpus train_seconds train_tokens tokens_per_second gpu_hours "
        "peak_memory_bytes head_parameters device"
    ),
    "bits_per_byte": (
        "model series seed student corpus kind bits_per_byte low high bytes documents"
    ),
    "loss": "run series seed student corpus phase step part loss running_mean",
    "divergence": (
        "model series seed student corpus of by group symbols jsd kl teacher_bits_per_byte "
        "student_bits_per_byte teacher_calibration_error student_calibration_error"
    ),
    "calibration": (
        "model series seed student corpus teacher of low high symbols confidence accuracy"
    ),
    "settings": "setting run value",
    "completions": "model series prompt completion ended",
    "surprise": "model series document character text bits",
    "caches": (
        "cache documents bytes disk_per_byte lost_mean lost_max lost_exceeded moved storage_kl "
        "storage_share strict policy stored strict_lost stored_lost token_bits byte_bits known "
        "first_byte beyond_bytes beyond_bits"
    ),
    "audit": (
        "cache distribution jsd_mean jsd_p99 jsd_max total_variation_mean total_variation_p99 "
        "total_variation_max bits_per_byte true_byte_lost"
    ),
    "audit_worst": "cache id kind jsd worst_jsd before symbol",
    "information": "cache by bytes tokens token_bits byte_bits known",
}
"""The tables of the report, each a CSV file, with their columns."""

NO_VALUE = "\u2013"
GIBIBYTE = 2**30


def number(value: float | None, digits: int = 3) -> str:
    """A number with thin spaces between thousands; a dash where there is none."""
    if value is None or math.isnan(value):
        return NO_VALUE
    # What rounds to zero has no sign.
    rounded = round(value, digits) + 0.0
    return f"{rounded:,.{digits}f}".replace(",", "\u2009").replace("-", "\u2212")


def signed(value: float | None, digits: int = 3) -> str:
    """A change: always with its sign."""
    sign = "+" if value is not None and round(value, digits) > 0 else ""
    return sign + number(value, digits)


def percent(share: float | None, digits: int = 1) -> str:
    """A share of one, in per cent."""
    return NO_VALUE if share is None else f"{number(100 * share, digits)}\u00a0%"


def precision(*values: float) -> int:
    """Decimals that keep the smallest of the values apart from zero, and all from each other: three
    to six."""
    sizes = [abs(value) for value in values if value and not math.isnan(value)]
    tenth = (max(values) - min(values)) / 10
    if tenth > 1e-6:
        sizes.append(tenth)
    return min(6, max(3, -math.floor(math.log10(min(sizes, default=1)))))


def listed(items: Sequence[object]) -> str:
    """a, b and c."""
    texts = [str(item) for item in items]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
