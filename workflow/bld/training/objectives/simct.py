"""SimCT, simple cross-tokenizer on-policy distillation (arXiv 2605.07711): at every place where a
token of both models begins, both are asked how they would go on, over all tokens that they share
and the shortest continuation that both can write.

    s(u) = 1/k * sum_j log p(v_j | all before it)      u is written as v_1 .. v_k        (Eq. 7)
    q(u) = exp s(u) / sum_u' exp s(u')                 u' among the candidates there     (Eq. 8)
    L = w_token * CE_token + w_KL * sum KL(q_student || q_teacher)                       (Eq. 9)

Units are the finest stretches of text that begin and end at a token boundary of both models
(Theorem 1); `alignment.chunks` finds them. The candidates where one begins are the tokens that both
vocabularies have, each a unit of one token, and the unit that stands there, if it is not one token
to both; a shared token that spells that unit is no candidate beside it. The mean in Eq. 7 makes
units no less probable for being long. Other objectives take the divergence from teacher to student,
this one the reverse; it is meant for text that the student has written (`sampling.on_policy`), and
can be taken on any. Public settings: w_token 0, w_KL 1, text drawn at temperature 0.6.

Deviations. Of the teacher only the most probable tokens are known: the shared tokens beyond them
are one candidate, to which the teacher gives the whole tail, that of tokens not shared included.
With `top_k_tokens` (4,096 at most) at the size of the vocabulary there is no such candidate, and
the loss is that of the paper. Ids that spell the same bytes are one candidate, and so are all ends
of turns. The sum is divided by the supervised tokens of the student, as the authors' code does; but
that code takes means of logits where Eq. 7 has log-probabilities, joins a unit of several tokens
with the token behind it, and in its later version leaves out places where the teacher gives the
candidates little mass. Here the equations stand as written.

Shape letters: S supervised tokens, U teacher tokens, C units, B units of a block, K kept tokens, V
vocabulary, O shared outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from bld.config.methods.simct import SimCtSettings
from bld.symbols import MIN_PROBABILITY
from bld.training.alignment import Outcomes, chunks, shared_outcomes
from bld.training.batches import Batch
from bld.training.logits import by_blocks, token_log_probs
from bld.training.objective import ObjectiveContext, ObjectiveParts, TeacherObjective


def build(settings: Mapping[str, Any], context: ObjectiveContext) -> ObjectiveParts:
    """It compares the vocabularies of both models."""
    return ObjectiveParts(SimCt(SimCtSettings.model_validate(settings), shared_outcomes(context)))


class SimCt(TeacherObjective):
    """The token cross-entropy and the reverse divergence from the teacher over units."""

    def __init__(self, settings: SimCtSettings, outcomes: Outcomes) -> None:
        super().__init__(settings.kl_weight, settings.token_weight)
        self.outcomes = outcomes

    def distance(self, lm: PreTrainedModel, hidden_XH: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The divergence where each unit begins, [C], in nats."""
        return unit_divergence(self.outcomes, lm, hidden_XH, batch)


def unit_divergence(
    outcomes: Outcomes, lm: PreTrainedModel, hidden_XH: torch.Tensor, batch: Batch
) -> torch.Tensor:
    """KL(student || teacher) over the candidates where each unit begins, [C], in nats."""
    teacher, units = batch.teacher_tokens, chunks(batch)
    assert teacher is not None, "the batch was made without the teacher's tokens"
    s_I, u_J = (units.of_S >= 0).nonzero()[:, 0], (units.of_U >= 0).nonzero()[:, 0]
    of_I, of_J = units.of_S[s_I], units.of_U[u_J]
    hidden_IH = hidden_XH[batch.source_S[s_I]]
    student_I = token_log_probs(lm, hidden_IH, batch.target_S[s_I])
    tokens_C, entries_C = (of.bincount(minlength=units.count) for of in (of_I, of_J))
    mean_C2 = torch.stack(
        [
            student_I.new_zeros(units.count).index_add(0, of_I, student_I) / tokens_C,
            student_I.new_zeros(units.count).index_add(0, of_J, teacher.log_prob_U[u_J])
            / entries_C,
        ],
        1,
    )
    # One token to both is a shared token already.
    is_one_C1 = ((tokens_C == 1) & (entries_C == 1))[:, None]
    unit_C2 = mean_C2.exp().masked_fill(is_one_C1, 0.0)

    begin_S, begin_U = s_I[_first(of_I)], u_J[_first(of_J)]
    student_V, teacher_W = (
        of.to(hidden_XH.device) for of in (outcomes.student_V, outcomes.teacher_W)
    )
    # One token to one of them: where it is shared, its text is a candidate already.
    of_student, of_teacher = student_V[batch.target_S[begin_S]], teacher_W[teacher.token_U[begin_U]]
    is_again_C = (tokens_C == 1) ^ (entries_C == 1)
    again_C = of_student.where(tokens_C == 1, of_teacher).masked_fill(~is_again_C, outcomes.count)
    columns = (
        teacher.ids_UK[begin_U],
        teacher.log_probs_UK[begin_U].exp(),
        teacher.log_tail_U[begin_U].exp(),
        unit_C2,
        again_C,
    )

    def divergence(
        log_probs_BV: torch.Tensor,
        ids_BK: torch.Tensor,
        teacher_BK: torch.Tensor,
        tail_B: torch.Tensor,
        unit_B2: torch.Tensor,
        again_B: torch.Tensor,
    ) -> torch.Tensor:
        zeros_BO = log_probs_BV.new_zeros(len(log_probs_BV), outcomes.count + 1)
        # Places that are unused add nothing, whatever id they hold.
        student_BO, teacher_BO = (
            side_BO.scatter(1, again_B[:, None], 0.0)[:, :-1]
            for side_BO in (
                zeros_BO.index_add(1, student_V, log_probs_BV.exp()),
                zeros_BO.scatter_add(1, teacher_W[ids_BK], teacher_BK),
            )
        )
        is_kept_BO = teacher_BO > 0
        beyond_B = student_BO.masked_fill(is_kept_BO, 0.0).sum(1)
        student = [student_BO.where(is_kept_BO, 0.0), beyond_B[:, None], unit_B2[:, :1]]
        return reverse_divergence(
            torch.cat(student, 1), torch.cat([teacher_BO, tail_B[:, None], unit_B2[:, 1:]], 1)
        )

    return by_blocks(lm, hidden_XH[batch.source_S[begin_S]], divergence, *columns)


def reverse_divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """KL(student || teacher) of rows of masses, which are normalised first; where neither has any
    there is no outcome."""
    student, teacher = (
        (side / side.sum(1, keepdim=True).clamp_min(MIN_PROBABILITY)).clamp_min(MIN_PROBABILITY)
        for side in (student, teacher)
    )
    return (student * (student.log() - teacher.log())).sum(1)


def _first(of: torch.Tensor) -> torch.Tensor:
    """Where a unit begins, of tokens in their order with the units that they belong to."""
    return torch.cat([of.new_full((1,), -1), of])[:-1] != of
