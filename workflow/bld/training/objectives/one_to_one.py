"""Strict one-to-one distillation (arXiv 2610.08448): the models are compared only where both have
the same token at the same bytes, and there over the tokens that both vocabularies have.

    L = w_token * CE_token + w_KL * sum KL(p_T || p_S),  over the student's tokens that are also the
    teacher's.

The control that methods for different tokenizers have to beat. Deviations: what is not shared is
one further outcome rather than left out, since a renormalised divergence is biased (arXiv
2503.16870), and so are the tokens beyond the teacher's kept ones: the divergence over fewer
outcomes never exceeds the full one. Ids that spell the same bytes are one outcome, and so are all
ends of turns. The sum is divided by all supervised tokens, so that what has no counterpart counts
as nothing, not as the mean.

Shape letters: S supervised tokens, U teacher tokens, M pairs of tokens that stand for the same
bytes, K kept tokens, V vocabulary, C shared outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel

from bld.config.methods.one_to_one import OneToOneSettings
from bld.symbols import MIN_PROBABILITY
from bld.training.alignment import Outcomes, same_spans, shared_outcomes
from bld.training.batches import Batch
from bld.training.logits import by_blocks
from bld.training.objective import ObjectiveContext, ObjectiveParts, TeacherObjective


def build(settings: Mapping[str, Any], context: ObjectiveContext) -> ObjectiveParts:
    """It compares the vocabularies of both models."""
    return ObjectiveParts(
        OneToOne(OneToOneSettings.model_validate(settings), shared_outcomes(context))
    )


class OneToOne(TeacherObjective):
    """The token cross-entropy and the divergence from the teacher on shared tokens."""

    def __init__(self, settings: OneToOneSettings, outcomes: Outcomes) -> None:
        super().__init__(settings.kl_weight, settings.token_weight)
        self.outcomes, self.temperature = outcomes, settings.temperature

    def distance(self, lm: PreTrainedModel, hidden_XH: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The divergence at each shared token, [M], in nats."""
        return shared_divergence(self.outcomes, lm, hidden_XH, batch, self.temperature).divergence_M


class Shared(NamedTuple):
    """The student's tokens that the teacher has at the same bytes, and the divergence at each, in
    nats."""

    token_M: torch.Tensor
    divergence_M: torch.Tensor


def shared_divergence(
    outcomes: Outcomes,
    lm: PreTrainedModel,
    hidden_XH: torch.Tensor,
    batch: Batch,
    temperature: float = 1.0,
) -> Shared:
    """KL(teacher || student) over the teacher's kept tokens that are shared, and one outcome for
    all else.

    With a temperature t both sides are p^(1/t), normalised, over those outcomes, and the divergence
    counts t^2, so that its gradient keeps its size (Hinton et al., 2015).
    """
    assert batch.teacher_tokens is not None, "the batch was made without the teacher's tokens"
    s_M, u_M = same_spans(batch)
    ids_MK = batch.teacher_tokens.ids_UK[u_M]
    student_V, teacher_W = (
        of.to(hidden_XH.device) for of in (outcomes.student_V, outcomes.teacher_W)
    )
    outcome_MK = teacher_W[ids_MK.clamp_min(0)].masked_fill(ids_MK < 0, outcomes.count)

    def divergence(
        log_probs_BV: torch.Tensor,
        outcome_BK: torch.Tensor,
        log_probs_BK: torch.Tensor,
        log_tail_B: torch.Tensor,
    ) -> torch.Tensor:
        nothing_BC = log_probs_BV.new_zeros(len(log_probs_BV), outcomes.count + 1)
        student_BC = nothing_BC.index_add(1, student_V, log_probs_BV.exp())
        teacher_BC = nothing_BC.scatter_add(1, outcome_BK, log_probs_BK.exp())
        is_kept_BC = teacher_BC > 0
        is_kept_BC[:, outcomes.count] = False
        left_B = student_BC.masked_fill(is_kept_BC, 0.0).sum(1)
        beside_B = log_tail_B.exp() + teacher_BC[:, outcomes.count]
        # Of kept tokens that spell the same, the first stands for all.
        place_BK = torch.arange(outcome_BK.shape[1], device=ids_MK.device).expand_as(outcome_BK)
        first_BC = torch.full_like(nothing_BC, outcome_BK.shape[1], dtype=torch.long)
        first_BC.scatter_reduce_(1, outcome_BK, place_BK, "amin")
        is_first_BK = first_BC.gather(1, outcome_BK) == place_BK
        is_outcome = F.pad(is_first_BK & is_kept_BC.gather(1, outcome_BK), (0, 1), value=True)
        lowest = torch.finfo(log_probs_BV.dtype).min
        teacher, student = (
            torch.cat([side_BC.gather(1, outcome_BK), rest_B[:, None]], 1)
            .clamp_min(MIN_PROBABILITY)
            .log()
            .div(temperature)
            .masked_fill(~is_outcome, lowest)
            .log_softmax(1)
            for side_BC, rest_B in ((teacher_BC, beside_B), (student_BC, left_B))
        )
        terms = teacher.exp() * (teacher - student).masked_fill(~is_outcome, 0.0)
        return terms.sum(1) * temperature**2

    tokens = batch.teacher_tokens
    targets = outcome_MK, tokens.log_probs_UK[u_M], tokens.log_tail_U[u_M]
    return Shared(s_M, by_blocks(lm, hidden_XH[batch.source_S[s_M]], divergence, *targets))
