"""Supervised fine-tuning: the cross-entropy of the student's own tokens, and nothing else.

Shape letters: S supervised tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel

from bld.models import output_logits
from bld.training.batches import Batch


def token_loss(lm: PreTrainedModel, hidden_SH: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Mean over supervised tokens of -log p(token), in nats."""
    logits_SV = output_logits(lm, hidden_SH).float()
    return F.cross_entropy(logits_SV, batch.target_S, reduction="sum") / batch.tokens


class Sft:
    """CE_token."""

    def losses(
        self, lm: PreTrainedModel, head: object, hidden_SH: torch.Tensor, batch: Batch
    ) -> dict[str, torch.Tensor]:
        """`loss` is what is descended; the other entries are its parts."""
        loss = token_loss(lm, hidden_SH, batch)
        return {"loss": loss, "token_loss": loss}
