"""Strict one-to-one distillation (arXiv 2610.08448): the models are compared only where both have the
same token at the same bytes, and there over the tokens that both vocabularies have.

    L = w_token * CE_token + w_KL * sum KL(p_T || p_S),  over the student's tokens that are also the teacher's.

The control that methods for different tokenizers have to beat. Deviations: what is not shared is one
further outcome rather than left out, since a renormalised divergence is biased (arXiv 2503.16870), and
so are the tokens beyond the teacher's kept ones: the divergence over fewer outcomes never exceeds the
full one. Ids that spell the same bytes are one outcome, and so are all ends of turns. The sum is
divided by all supervised tokens, so that what has no counterpart counts as nothing, not as the mean.

Shape letters: S supervised tokens, U teacher tokens, M pairs of tokens that stand for the same bytes,
K kept tokens, V vocabulary, C shared outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from bld.config_methods import OneToOne as Settings
from bld.training.alignment import same_spans
from bld.training.batches import Batch
from bld.training.logits import by_blocks, token_loss
from bld.training.methods import Built, Scene
from bld.training.outcomes import Outcomes

LEAST = 1e-30
REST = 1e-7  # what is left of 1 in float32 is not known better


def build(settings: Mapping[str, Any], scene: Scene) -> Built:
    """It compares the vocabularies of both models."""
    return Built(OneToOne(Settings.model_validate(settings), shared_outcomes(scene)))


def shared_outcomes(scene: Scene) -> Outcomes:
    """What the student's and the teacher's tokens have in common."""
    assert scene.teacher is not None, "the stage gives the teacher's vocabulary"
    logits = len(scene.lm.get_output_embeddings().weight)
    return Outcomes(scene.renderer.vocabulary, logits, scene.teacher)


class OneToOne:
    """The token cross-entropy and the divergence from the teacher on shared tokens."""

    def __init__(self, settings: Settings, outcomes: Outcomes) -> None:
        self.settings, self.outcomes = settings, outcomes

    def losses(
        self, lm: PreTrainedModel, head: object, hidden_XH: torch.Tensor, batch: Batch
    ) -> dict[str, torch.Tensor]:
        """`loss` is what is descended; `token_loss` and `teacher_loss` are its parts, unweighted, in
        nats."""
        settings = self.settings
        divergence_M = shared_divergence(
            self.outcomes, lm, hidden_XH, batch, settings.temperature
        ).divergence_M
        parts = {"teacher_loss": divergence_M.sum() / batch.tokens}
        loss = settings.kl_weight * parts["teacher_loss"]
        if settings.token_weight:
            parts["token_loss"] = token_loss(lm, hidden_XH, batch)
            loss = loss + settings.token_weight * parts["token_loss"]
        return {"loss": loss, **parts}


class Shared(NamedTuple):
    """The student's tokens that the teacher has at the same bytes, and the divergence at each, in nats."""

    token_M: torch.Tensor
    divergence_M: torch.Tensor


def shared_divergence(
    outcomes: Outcomes,
    lm: PreTrainedModel,
    hidden_XH: torch.Tensor,
    batch: Batch,
    temperature: float = 1.0,
) -> Shared:
    """KL(teacher || student) over the teacher's kept tokens that are shared, and one outcome for all
    else.

    With a temperature t both sides are p^(1/t), normalised, over those outcomes, and the divergence
    counts t^2, so that its gradient keeps its size (Hinton et al., 2015).
    """
    assert batch.teacher_tokens is not None, "the batch was made without the teacher's tokens"
    s_M, u_M = same_spans(batch)
    ids_MK = batch.teacher_tokens.ids_UK[u_M]
    log_probs_MK = batch.teacher_tokens.log_probs_UK[u_M]
    student_V, teacher_W = (
        of.to(hidden_XH.device) for of in (outcomes.student_V, outcomes.teacher_W)
    )
    outcome_MK = teacher_W[ids_MK.clamp_min(0)].masked_fill(ids_MK < 0, outcomes.count)

    def divergence(
        log_probs_BV: torch.Tensor, outcome_BK: torch.Tensor, teacher_BK: torch.Tensor
    ) -> torch.Tensor:
        probs_BC = log_probs_BV.new_zeros(len(log_probs_BV), outcomes.count + 1)
        student_BC = probs_BC.index_add(1, student_V, log_probs_BV.exp())
        teacher_BC = probs_BC.scatter_add(1, outcome_BK, teacher_BK.exp())
        is_kept_BC = (teacher_BC > 0).index_fill(1, student_V.new_tensor([outcomes.count]), False)
        kept_BC = torch.where(is_kept_BC, teacher_BC, 0.0), torch.where(is_kept_BC, student_BC, 0.0)
        teacher, student = (
            torch.cat(
                [side.clamp_min(LEAST), (1 - side.sum(1, keepdim=True)).clamp_min(REST)], 1
            ).log()
            for side in kept_BC
        )
        is_outcome = torch.cat([is_kept_BC, is_kept_BC.new_ones(len(is_kept_BC), 1)], 1)
        lowest = torch.finfo(teacher.dtype).min
        teacher, student = (
            (side / temperature).masked_fill(~is_outcome, lowest).log_softmax(1)
            for side in (teacher, student)
        )
        terms = teacher.exp() * (teacher - student).masked_fill(~is_outcome, 0.0)
        return terms.sum(1) * temperature**2

    hidden_MH = hidden_XH[batch.source_S[s_M]]
    return Shared(s_M, by_blocks(lm, hidden_MH, divergence, outcome_MK, log_probs_MK))
