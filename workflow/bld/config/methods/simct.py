"""SimCT: simple cross-tokenizer on-policy distillation."""

from __future__ import annotations

from bld.config.documents import NonNegative
from bld.config.method import VIOLET, Distillation, Series


class SimCtSettings(Distillation):
    """SimCT, arXiv 2605.07711: shared tokens and the shortest aligned chunks that both models can
    write, by reverse divergence."""

    title = "SimCT"
    paper = "2605.07711"
    series = (Series("simct", "SimCT with SFT"), Series("simct plain", "SimCT", VIOLET, "s"))

    token_weight: NonNegative = 0.0
    """Weight of the token cross-entropy; the authors take none."""
    kl_weight: NonNegative = 1.0
    """Weight of the divergence from the teacher."""
