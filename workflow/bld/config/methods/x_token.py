"""X-Token: the student is compared with the teacher in the teacher's vocabulary."""

from __future__ import annotations

from typing import Literal

from bld.config.documents import NonNegative
from bld.config.method import ORANGE, PINK, Distillation, Series


class XTokenSettings(Distillation):
    """X-Token, arXiv 2605.21699: the student's tokens projected to the teacher's by a sparse matrix
    that rules make."""

    title = "X-Token"
    paper = "2605.21699"
    series = (
        Series("x_token p-kl", "X-Token, P-KL", ORANGE, "s"),
        Series("x_token h-kl", "X-Token, H-KL", PINK, "s"),
    )
    vocabulary_map = "x_token"

    loss: Literal["p_kl", "h_kl"] = "p_kl"
    """`p_kl`: divergence from the teacher of the projected student, for vocabularies that lack
    tokens that matter. `h_kl`: divergence over common tokens and distance of the others sorted by
    size, for vocabularies that agree well."""
    matching: Literal["relaxed", "strict"] = "relaxed"
    """Which tokens `h_kl` takes as common: each with its top-ranked counterpart, or only those
    spelt alike (as GOLD does)."""
    kl_weight: NonNegative = 1.0
    """Weight of the divergence from the teacher."""
    balanced: bool = True
    """Scale the divergence to the size of the token cross-entropy, anew in every micro batch;
    `kl_weight` comes on top. Try `false` where few tokens of the two models align: there it lets
    the divergence outweigh the text."""

    @property
    def series_name(self) -> str:
        """The loss."""
        return f"x_token {self.loss.replace('_', '-')}"
