"""Supervised fine-tuning, the baseline: no settings, no teacher."""

from __future__ import annotations

from bld.config.method import BLUE, TOKEN_LOSS, Method, Series


class SftSettings(Method):
    """Supervised fine-tuning."""

    title = "plain fine-tuning"
    series = (Series("sft", "SFT", BLUE),)
    losses = (TOKEN_LOSS,)

    @property
    def objective(self) -> str:
        """All that it takes."""
        return "cross-entropy of tokens."

    @property
    def reads_tokens(self) -> bool:
        """It has no teacher."""
        return False
