"""What DeepSpeed sees: a student, its byte head and an objective as one module from batch to
losses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, Self

import torch
from torch import nn
from transformers import PreTrainedModel

from bld.symbols import END
from bld.training.batches import Batch
from bld.training.logits import token_loss
from bld.training.reading import Reading, read_packed
from bld.windows import LongDocuments


class Objective(Protocol):
    """From the hidden states of a batch, [X, H] with X its rows laid end to end, to named
    losses."""

    def losses(
        self, lm: PreTrainedModel, head: Any, hidden_XH: torch.Tensor, batch: Batch
    ) -> dict[str, torch.Tensor]:
        """The objective and its parts, in nats."""
        ...


class Trainee(nn.Module):
    """A language model with an optional byte head under an objective; `train` adds how it reads
    rows and what became of documents that are longer."""

    def __init__(self, lm: PreTrainedModel, head: nn.Module | None, objective: Objective) -> None:
        super().__init__()
        self.lm = lm
        self.head = head
        self.objective = objective
        self.reading: Reading = read_packed
        self.long_documents: LongDocuments | None = None
        self._body_is_frozen = False

    def forward(self, batch: Batch, content: bool = False) -> dict[str, torch.Tensor]:
        """The losses of a batch; `loss` is the one to descend.

        With `content` also `content_nats`, what its supervised tokens but the ends of turns cost,
        summed.
        """
        hidden_XH = self.reading(self.lm, batch)
        losses = self.objective.losses(self.lm, self.head, hidden_XH, batch)
        if content:
            losses["content_nats"] = token_loss(self.lm, hidden_XH, _content(batch))
        return losses

    def freeze_body(self) -> None:
        """Train the head alone; the body gives the same hidden states as it does when it is used,
        without dropout."""
        self.lm.requires_grad_(False)
        self._body_is_frozen = True
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As for any module, but a frozen body stays in evaluation mode."""
        super().train(mode)
        if self._body_is_frozen:
            self.lm.eval()
        return self


def _content(batch: Batch) -> Batch:
    """The batch without what is supervised beside its contents, its losses to be summed."""
    is_content_S = (batch.symbols_N[batch.symbol_S] != END) & (batch.count_S > 0)
    source_S, target_S = batch.source_S[is_content_S], batch.target_S[is_content_S]
    return replace(batch, source_S=source_S, target_S=target_S, token_normaliser=1.0)
