"""What the report and model cards call the things that they compare, and the report's tables.

The rules read it too, so it imports nothing.
"""

from __future__ import annotations

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
