"""MinED, the token alignment of FuseLLM."""

from __future__ import annotations

from bld.config.documents import NonNegative
from bld.config.method import OCHRE, Distillation, Series


class MinedSettings(Distillation):
    """Minimum edit distance, arXiv 2401.10491: sequences and vocabularies are aligned by
    spelling."""

    title = "Minimum edit distance"
    paper = "2401.10491"
    series = (Series("mined", "MinED", OCHRE, "s"),)
    vocabulary_map = "mined"

    token_weight: NonNegative = 0.9
    """Weight of the token cross-entropy (lambda)."""
    kl_weight: NonNegative = 0.1
    """Weight of the divergence from the aligned teacher (1 - lambda)."""
