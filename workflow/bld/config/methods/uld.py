"""Universal logit distillation."""

from __future__ import annotations

from bld.config.documents import NonNegative
from bld.config.method import BLUE, Distillation, Series


class UldSettings(Distillation):
    """Universal logit distillation, arXiv 2402.12030: distance of the probabilities, sorted by
    size."""

    title = "Universal logit distillation"
    paper = "2402.12030"
    series = (Series("uld", "ULD", BLUE, "s"),)

    distance_weight: NonNegative = 1.5
    """Weight of the distance from the teacher (lambda)."""
    mask_end: bool = True
    """Leave the student's ends of turns out of the distance."""
