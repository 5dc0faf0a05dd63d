"""First choice: the cross-entropy of the teacher's most probable token, at tokens of both models
that spell the same bytes. This file goes to `workflow/bld/training/objectives/first_choice.py`.

    L = w_token * CE_token + w_choice * sum -log p_S(argmax p_T) / supervised tokens

Shape letters: M shared tokens, B a block of them, V the student's logits, C shared outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from bld.config.methods.first_choice import FirstChoiceSettings
from transformers import PreTrainedModel

from bld.training.alignment import Outcomes, same_spans, shared_outcomes
from bld.training.batches import Batch
from bld.training.logits import by_blocks, token_loss
from bld.training.objective import ObjectiveContext, ObjectiveParts


def build(settings: Mapping[str, Any], context: ObjectiveContext) -> ObjectiveParts:
    """It compares the vocabularies of both models."""
    own = FirstChoiceSettings.model_validate(settings)
    return ObjectiveParts(FirstChoice(own, shared_outcomes(context)))


class FirstChoice:
    """The token cross-entropy and that of the teacher's choice."""

    def __init__(self, settings: FirstChoiceSettings, outcomes: Outcomes) -> None:
        self.settings, self.outcomes = settings, outcomes

    def losses(
        self, lm: PreTrainedModel, head: object, hidden_XH: torch.Tensor, batch: Batch
    ) -> dict[str, torch.Tensor]:
        """`loss` is what is descended; `token_loss` and `choice_loss` are its parts, in nats."""
        assert batch.teacher_tokens is not None, "the batch was made without the teacher's tokens"
        outcomes, (s_M, u_M) = self.outcomes, same_spans(batch)
        choice_M = outcomes.teacher_W[batch.teacher_tokens.ids_UK[u_M, 0]]
        s_M, choice_M = s_M[choice_M < outcomes.count], choice_M[choice_M < outcomes.count]

        def surprise(log_probs_BV: torch.Tensor, choice_B: torch.Tensor) -> torch.Tensor:
            nothing_BC = log_probs_BV.new_zeros(len(log_probs_BV), outcomes.count + 1)
            probs_BC = nothing_BC.index_add(1, outcomes.student_V, log_probs_BV.exp())
            return -probs_BC.gather(1, choice_B[:, None])[:, 0].clamp_min(1e-30).log()

        surprise_M = by_blocks(lm, hidden_XH[batch.source_S[s_M]], surprise, choice_M)
        parts = {
            "token_loss": token_loss(lm, hidden_XH, batch),
            "choice_loss": surprise_M.sum() / batch.token_normaliser,
        }
        weights = {
            "token_loss": self.settings.token_weight,
            "choice_loss": self.settings.choice_weight,
        }
        return {"loss": sum(weights[name] * part for name, part in parts.items()), **parts}
