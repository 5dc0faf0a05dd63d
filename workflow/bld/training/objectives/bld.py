"""Byte-level distillation, Eq. 5 of arXiv 2604.07466:

    L = CE_token + lambda_b * sum_j CE(b_j, f(j)) + lambda_KL * sum_j KL(P_T(b_j | b_<j) || f(j)),  j <= min(len, 10).

f(j) is what the byte head says of byte j of the token. P_T comes from the cache as the teacher's k
most probable symbols and one tail mass; the divergence is taken over those k + 1 outcomes, which
never exceeds the divergence over all of them. The paper leaves the reduction open: here the mean
over supervised tokens of the sum over j, or the mean over bytes.

Shape letters: S supervised tokens, M (token, byte) pairs, H hidden, K kept symbols.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel

from bld.students.heads import ByteHead
from bld.training.batches import Batch
from bld.training.objectives.sft import token_loss


@dataclass(frozen=True)
class Bld:
    """The loss of Eq. 5. A part whose weight is 0 is not computed; the warm-up is this objective
    without `kl_weight`, and without `token_weight` while the body is frozen.
    """

    byte_weight: float = 1.0
    kl_weight: float = 0.1
    reduction: str = "token"
    token_weight: float = 1.0

    def losses(
        self, lm: PreTrainedModel, head: ByteHead, hidden_SH: torch.Tensor, batch: Batch
    ) -> dict[str, torch.Tensor]:
        """`loss` is what is descended; `token_loss`, `byte_loss` and `kl_loss` are its parts,
        unweighted, in nats."""
        token_M, byte_M = byte_pairs(batch.count_S, head.max_bytes)
        symbol_M = batch.symbol_S[token_M] + byte_M
        log_probs_MS = head(hidden_SH, token_M, byte_M)
        pairs = batch.tokens if self.reduction == "token" else batch.bytes

        parts: dict[str, torch.Tensor] = {}
        if self.token_weight:
            parts["token_loss"] = token_loss(lm, hidden_SH, batch)
        if self.byte_weight:
            true_M1 = batch.symbols_N[symbol_M][:, None]
            parts["byte_loss"] = -log_probs_MS.gather(1, true_M1).sum() / pairs
        if self.kl_weight:
            divergence_M = divergence_from_top_k(
                batch.teacher_symbols_NK[symbol_M],
                batch.teacher_log_probs_NK[symbol_M],
                batch.teacher_log_tail_N[symbol_M],
                log_probs_MS,
            )
            parts["kl_loss"] = divergence_M.sum() / pairs
        weights = {
            "token_loss": self.token_weight,
            "byte_loss": self.byte_weight,
            "kl_loss": self.kl_weight,
        }
        loss = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return {"loss": loss, **parts}


def byte_pairs(count_S: torch.Tensor, max_bytes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Every (token, byte number) with byte number < min(bytes of the token, max_bytes), as two
    index vectors [M]."""
    numbers = torch.arange(max_bytes, device=count_S.device)
    token_M, byte_M = (numbers < count_S[:, None]).nonzero(as_tuple=True)
    return token_M, byte_M


def divergence_from_top_k(
    symbols_MK: torch.Tensor,
    log_probs_MK: torch.Tensor,
    log_tail_M: torch.Tensor,
    student_log_probs: torch.Tensor,
) -> torch.Tensor:
    """KL(teacher || student) in nats, [M], over the teacher's kept symbols and one outcome for all
    the others.

    Unused places among the K have log-probability -inf and any symbol. `student_log_probs` is [M,
    260].
    """
    used_MK = log_probs_MK > -torch.inf
    safe_log_probs_MK = log_probs_MK.masked_fill(~used_MK, 0.0)
    student_MK = student_log_probs.gather(1, symbols_MK)
    kept_MK = safe_log_probs_MK.exp() * (safe_log_probs_MK - student_MK)

    # Unused places mark a column of their own, which is cut off again.
    columns_MK = symbols_MK.masked_fill(~used_MK, student_log_probs.shape[1])
    is_kept = torch.zeros_like(F.pad(student_log_probs, (0, 1)), dtype=torch.bool)
    is_kept = is_kept.scatter(1, columns_MK, True)[:, :-1]
    student_tail_M = student_log_probs.masked_fill(is_kept, -torch.inf).logsumexp(1)

    has_tail_M = log_tail_M > -torch.inf
    safe_log_tail_M = log_tail_M.masked_fill(~has_tail_M, 0.0)
    tail_M = safe_log_tail_M.exp() * (safe_log_tail_M - student_tail_M)
    return kept_MK.masked_fill(~used_MK, 0.0).sum(1) + tail_M.masked_fill(~has_tail_M, 0.0)
