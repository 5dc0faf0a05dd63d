"""Byte-level distillation, Eq. 5 of arXiv 2604.07466:

    L = CE_token + lambda_b * sum_j CE(b_j, f(j)) + lambda_KL * sum_j KL(P_T(b_j | b_<j) || f(j)),  j <= min(len, 10).

f(j) is what the byte head says of byte j of the token; heads that sum tokens to bytes have no limit
of ten. P_T comes from the cache as the teacher's k most probable symbols and one tail mass; the
divergence is taken over those k + 1 outcomes, which never exceeds the divergence over all of them.
The paper leaves the reduction open: here the mean over supervised tokens of the sum over j, or the
mean over bytes.

Shape letters: S supervised tokens, M predicted symbols, X positions, H hidden, K kept symbols.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from bld.covers.marginal import LEAST, UNSPELT
from bld.students.heads import ByteHead
from bld.tokenization.symbols import END, SYMBOLS
from bld.training.batches import Batch
from bld.training.objectives.sft import token_loss


@dataclass(frozen=True)
class Bld:
    """The loss of Eq. 5. A part whose weight is 0 is not computed; the warm-up is this objective
    without `kl_weight`, and without `token_weight` while the body is frozen.

    `mask_end`, `mask_whitespace`: leave ends of turns, and the bytes of tokens that are only
    whitespace, out of the byte parts; what they are divided by stays. `temperature` softens both
    sides of the divergence, see `divergence_from_top_k`.
    """

    token_weight: float = 1.0
    byte_weight: float = 1.0
    kl_weight: float = 0.1
    reduction: str = "token"
    temperature: float = 1.0
    mask_end: bool = False
    mask_whitespace: bool = False

    def losses(
        self, lm: PreTrainedModel, head: ByteHead, hidden_XH: torch.Tensor, batch: Batch
    ) -> dict[str, torch.Tensor]:
        """`loss` is what is descended; `token_loss`, `byte_loss` and `kl_loss` are its parts,
        unweighted, in nats."""
        symbol_M, log_probs_MS, token_log_probs_S = head(lm, hidden_XH, batch)
        true_M = batch.symbols_N[symbol_M]
        if self.mask_end or self.mask_whitespace:
            kept_M = torch.ones_like(symbol_M, dtype=torch.bool)
            if self.mask_end:
                kept_M &= true_M != END
            if self.mask_whitespace:
                kept_M &= ~batch.blank_N[symbol_M]
            symbol_M, log_probs_MS, true_M = symbol_M[kept_M], log_probs_MS[kept_M], true_M[kept_M]
        shared_by = batch.tokens if self.reduction == "token" else batch.bytes

        parts: dict[str, torch.Tensor] = {}
        if self.token_weight:
            parts["token_loss"] = (
                token_loss(lm, hidden_XH, batch)
                if token_log_probs_S is None
                else -token_log_probs_S.sum() / batch.tokens
            )
        if self.byte_weight:
            parts["byte_loss"] = -log_probs_MS.gather(1, true_M[:, None]).sum() / shared_by
        if self.kl_weight:
            divergence_M = divergence_from_top_k(
                batch.teacher_symbols_NK[symbol_M],
                batch.teacher_log_probs_NK[symbol_M],
                batch.teacher_log_tail_N[symbol_M],
                log_probs_MS,
                self.temperature,
            )
            parts["kl_loss"] = divergence_M.sum() / shared_by
        weights = {
            "token_loss": self.token_weight,
            "byte_loss": self.byte_weight,
            "kl_loss": self.kl_weight,
        }
        loss = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return {"loss": loss, **parts}


def divergence_from_top_k(
    symbols_MK: torch.Tensor,
    log_probs_MK: torch.Tensor,
    log_tail_M: torch.Tensor,
    student_log_probs: torch.Tensor,
    temperature: float = 1.0,
) -> torch.Tensor:
    """KL(teacher || student) in nats, [M], over the teacher's kept symbols and one outcome for all
    the others.

    Places among the K but the first may be unused: log-probability -inf, and any symbol.
    `student_log_probs` [M, 260] are finite. Outcomes that none of the student's histories can spell
    (see `covers.marginal.UNSPELT`) are left out, where the divergence would be infinite: what is left
    is that over the others, weighed by the mass that the teacher gives them. With a temperature t
    both sides are p^(1/t), normalised, over those k + 1 outcomes, and the divergence counts t^2, so
    that its gradient keeps its size (Hinton et al., 2015).
    """
    student_MK = student_log_probs.gather(1, symbols_MK)
    # Unused places strike out the first symbol once more.
    kept_MK = symbols_MK.where(log_probs_MK > -torch.inf, symbols_MK[:, :1])
    student_tail_M1 = student_log_probs.exp().scatter(1, kept_MK, 0.0).sum(1, keepdim=True)
    least = torch.finfo(student_tail_M1.dtype).tiny

    teacher = torch.cat([log_probs_MK, log_tail_M[:, None]], 1)
    student = torch.cat([student_MK, student_tail_M1.clamp_min(least).log()], 1)
    is_spelt = torch.cat([student_MK != UNSPELT, student_tail_M1 > SYMBOLS * LEAST], 1)
    is_outcome = (teacher > -torch.inf) & is_spelt
    if temperature != 1.0:
        lowest = torch.finfo(student.dtype).min
        teacher, student = (
            (side / temperature).masked_fill(~is_outcome, lowest).log_softmax(1)
            for side in (teacher, student)
        )
    teacher = teacher.masked_fill(~is_outcome, 0.0)
    student = student.masked_fill(~is_outcome, 0.0)
    terms = teacher.exp() * (teacher - student)
    return terms.masked_fill(~is_outcome, 0.0).sum(1) * temperature**2
