"""Strict one-to-one distillation: the control that methods for different tokenizers have to
beat."""

from __future__ import annotations

from bld.config.documents import NonNegative, Positive
from bld.config.method import VIOLET, Distillation, Series


class OneToOneSettings(Distillation):
    """Strict one-to-one distillation, arXiv 2610.08448: tokens that both models have at the same
    bytes."""

    title = "Strict one-to-one distillation"
    paper = "2610.08448"
    series = (Series("one_to_one", "One-to-one", VIOLET),)

    kl_weight: NonNegative = 1.0
    """Weight of the divergence from the teacher."""
    temperature: Positive = 1.0
    """Both sides of the divergence are softened by this; 1 leaves them."""
