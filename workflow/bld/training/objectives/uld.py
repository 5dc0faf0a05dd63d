"""Universal logit distillation (Boizard et al., arXiv 2402.12030): the Wasserstein distance of the
two token distributions, for which every change of a token costs the same.

    L = sum over t of  w_token * CE(t) + lambda * W1(t),   W1(t) = sum over i of |p_S,(i)(t) -
    p_T,(i)(t)|,

p_(i) being the i-th largest probability at position t, the shorter vocabulary filled up with zeros
(the closed form of the paper's W1 for uniform costs). Nothing says which token is which. Position t
is the t-th token of either model, whatever it spells, and the longer sequence is cut. lambda = 1.5,
no temperature, the student's ends of turns unpaired: as in the authors' runs
(github.com/Nicolas-BZRD/llm-recipes).

Deviations:
* Of the teacher the k most probable tokens are known and one mass for all others. Those k are
  compared with the student's k largest probabilities, and the mass with what the student leaves
  beside its own: that never exceeds the full distance, and equals it where all tokens are kept
  (`top_k_tokens` at the size of the vocabulary, 4,096 at most).
* Positions are paired inside a run of supervised tokens (an answer with its end, a text, or what a
  row has of it), so that the turns of a conversation do not shift each other. The teacher's tokens
  that reach across the edge of a row are missing there.
* The sum over pairs is divided by all supervised tokens of the student; the authors take the mean
  over the pairs of a sequence, then over sequences.

The distance has no second derivative to settle by: near the teacher its gradient keeps its size.

Shape letters: S supervised tokens, U teacher tokens, M pairs, B a block of them, K kept tokens, V
vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from bld.config.methods.uld import UldSettings
from bld.symbols import END
from bld.training.alignment import supervised_spans
from bld.training.batches import Batch
from bld.training.logits import by_blocks
from bld.training.objective import ObjectiveContext, ObjectiveParts, TeacherObjective


def build(settings: Mapping[str, Any], context: ObjectiveContext) -> ObjectiveParts:
    """It reads nothing of the vocabularies."""
    return ObjectiveParts(Uld(UldSettings.model_validate(settings)))


class Uld(TeacherObjective):
    """The token cross-entropy and the distance of sorted probabilities."""

    def __init__(self, settings: UldSettings) -> None:
        super().__init__(settings.distance_weight, settings.token_weight)
        self.mask_end = settings.mask_end

    def distance(self, lm: PreTrainedModel, hidden_XH: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The distance of each pair, [M], in probability (at most 2)."""
        teacher = batch.teacher_tokens
        assert teacher is not None, "the batch was made without the teacher's tokens"
        s_M, u_M = paired_in_order(batch, self.mask_end)
        return by_blocks(
            lm,
            hidden_XH[batch.source_S[s_M]],
            sorted_distance,
            teacher.log_probs_UK[u_M],
            teacher.log_tail_U[u_M],
        )


def paired_in_order(batch: Batch, mask_end: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Indexes (s_M, u_M) of the i-th student and the i-th teacher token of every run that spell
    something, as far as both go; with `mask_end` the student's ends of turns have none."""
    run_S, run_U = supervised_spans(batch)
    is_spelt_S = batch.count_S > 0
    number_S = is_spelt_S.cumsum(0) - is_spelt_S.long()
    place_S = number_S - number_S[torch.searchsorted(run_S, run_S)]
    u_S = torch.searchsorted(run_U, run_S) + place_S
    is_paired_S = (u_S < torch.searchsorted(run_U, run_S, right=True)) & is_spelt_S
    if mask_end:
        is_paired_S &= batch.symbols_N[batch.symbol_S] != END
    return is_paired_S.nonzero()[:, 0], u_S[is_paired_S]


def sorted_distance(
    log_probs_BV: torch.Tensor, teacher_BK: torch.Tensor, log_tail_B: torch.Tensor
) -> torch.Tensor:
    """[B]: the distance from the student's distributions to the teacher's kept log-probabilities
    (falling, -inf where unused) and their log tail mass."""
    size = min(teacher_BK.shape[1], log_probs_BV.shape[1])
    student_BK = functional.pad(
        log_probs_BV.topk(size, 1).values.exp(), (0, teacher_BK.shape[1] - size)
    )
    kept_BK = teacher_BK.exp()
    is_kept_BK = kept_BK > 0
    beside_B = 1 - (student_BK * is_kept_BK).sum(1)
    apart_BK = (student_BK - kept_BK).abs() * is_kept_BK
    return apart_BK.sum(1) + (beside_B - log_tail_B.exp()).abs()
