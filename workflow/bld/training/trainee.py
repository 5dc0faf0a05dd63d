"""What DeepSpeed sees: a student, its byte head and an objective as one module from batch to
losses."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn
from transformers import PreTrainedModel

from bld.models import hidden_states
from bld.training.batches import Batch


class Objective(Protocol):
    """From hidden states and a batch to named losses; `loss` is the one to descend."""

    def losses(
        self, lm: PreTrainedModel, head: Any, hidden_SH: torch.Tensor, batch: Batch
    ) -> dict[str, torch.Tensor]:
        """The objective and its parts, in nats."""
        ...


class Trainee(nn.Module):
    """A language model with an optional byte head under an objective."""

    def __init__(self, lm: PreTrainedModel, head: nn.Module | None, objective: Objective) -> None:
        super().__init__()
        self.lm = lm
        self.head = head
        self.objective = objective

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The losses of a batch; `loss` is the one to descend."""
        mask = batch.mask_B1TT(self.lm.dtype)
        hidden_BTH = hidden_states(self.lm, batch.ids_BT, mask, batch.positions_BT)
        hidden_SH = hidden_BTH.flatten(0, 1)[batch.source_S]
        return self.objective.losses(self.lm, self.head, hidden_SH, batch)

    def freeze_body(self) -> None:
        """Train the head alone."""
        self.lm.requires_grad_(False)
