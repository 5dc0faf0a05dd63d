"""Supervised fine-tuning: the cross-entropy of the student's own tokens, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from bld.training.batches import Batch
from bld.training.logits import token_loss
from bld.training.objective import ObjectiveContext, ObjectiveParts


def build(settings: Mapping[str, Any], context: ObjectiveContext) -> ObjectiveParts:
    """It has no settings and reads nothing but the batch."""
    return ObjectiveParts(Sft())


class Sft:
    """CE_token."""

    def losses(
        self, lm: PreTrainedModel, head: object, hidden_XH: torch.Tensor, batch: Batch
    ) -> dict[str, torch.Tensor]:
        """`loss` is what is descended; the other entries are its parts."""
        loss = token_loss(lm, hidden_XH, batch)
        return {"loss": loss, "token_loss": loss}
