"""What objectives are made from and what they have in common.

The objective of a method is the module of its name in `training.objectives`, imported by it, so
that the code of a run is that of its own method (see `pipeline.code_digest`). Its `build` takes the
settings of the method and an `ObjectiveContext` and returns `ObjectiveParts`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel

from bld.tokenization.rendering import Renderer
from bld.tokenization.vocabulary import Vocabulary
from bld.training.batches import Batch
from bld.training.logits import token_loss
from bld.training.trainee import Objective

if TYPE_CHECKING:
    from bld.training.histories import Histories


class ObjectiveContext(NamedTuple):
    """What an objective may be built from: the student and its renderer; the teacher's vocabulary,
    for methods that read its tokens; the folder of a warmed-up byte head, and the file of a
    vocabulary map, for methods that have one."""

    lm: PreTrainedModel
    renderer: Renderer
    teacher: Vocabulary | None = None
    warmup: Path | None = None
    map: Path | None = None


class ObjectiveParts(NamedTuple):
    """An objective, its byte head, and the histories that its batches need."""

    objective: Objective
    head: nn.Module | None = None
    histories: Histories | None = None


class TeacherObjective:
    """An objective that learns from a teacher's tokens and from the text:

        L = weight * distance / supervised tokens + token_weight * CE_token.

    A method defines `distance`; `scale` too, where a factor depends on both parts.
    """

    def __init__(self, weight: float, token_weight: float) -> None:
        self.weight, self.token_weight = weight, token_weight

    def distance(self, lm: PreTrainedModel, hidden_XH: torch.Tensor, batch: Batch) -> torch.Tensor:
        """From the teacher: the terms of a sum."""
        raise NotImplementedError

    def scale(
        self,
        lm: PreTrainedModel,
        hidden_XH: torch.Tensor,
        batch: Batch,
        losses: dict[str, torch.Tensor],
    ) -> torch.Tensor | float:
        """A factor of the weight, where there is a token cross-entropy."""
        return 1.0

    def losses(
        self, lm: PreTrainedModel, head: object, hidden_XH: torch.Tensor, batch: Batch
    ) -> dict[str, torch.Tensor]:
        """`loss` is what is descended; its parts, unweighted, are `teacher_loss`, in the unit of
        `distance`, and `token_loss`, in nats, unless its weight is 0."""
        parts = {"teacher_loss": self.distance(lm, hidden_XH, batch).sum() / batch.token_normaliser}
        loss = self.weight * parts["teacher_loss"]
        if self.token_weight:
            parts["token_loss"] = token_loss(lm, hidden_XH, batch)
            loss = loss * self.scale(lm, hidden_XH, batch, parts)
            loss = loss + self.token_weight * parts["token_loss"]
        return {"loss": loss, **parts}
