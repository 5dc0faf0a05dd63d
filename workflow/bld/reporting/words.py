"""What the report and model cards call the things that they compare."""

from __future__ import annotations

TEACHER = "teacher"
UNTRAINED = "untrained student"
METRIC_WORDS = {"bits_per_byte": "bits per byte", "byte_jsd": "JSD to the teacher"}
VERDICTS = {
    "better": "better",
    "worse": "worse",
    "not shown": "no difference shown",
    "baseline": "the baseline",
    "not compared": "not compared",
}
