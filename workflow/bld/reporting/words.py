"""What the report and model cards call the things that they compare, and what is too few to rank.

The rules read it too, so it imports nothing.
"""

from __future__ import annotations

TEACHER = "teacher"
UNTRAINED = "untrained student"
FEWEST = 3
"""Methods that are ranked; of two, the difference says all."""
METRIC_WORDS = {"bits_per_byte": "bits per byte", "byte_jsd": "JSD to the teacher"}
VERDICTS = {
    "better": "better",
    "worse": "worse",
    "not shown": "no difference shown",
    "baseline": "the baseline",
    "not compared": "not compared",
}
