"""Byte-level distillation, Eq. 5 of arXiv 2604.07466:

    L = CE_token + lambda_b * sum_j CE(b_j, f(j)) + lambda_KL * sum_j KL(P_T(b_j | b_<j) || f(j)),
    j <= min(len, 10).

Beyond the paper, `shared_weight` adds the divergence of tokens that both models have at the same
bytes (see `one_to_one`), in place of that of their bytes if `shared_bytes` is false: one-to-one
where spans agree, bytes where they do not.

f(j) is what the byte head says of byte j of the token; heads that sum tokens to bytes have no limit
of ten. P_T comes from the cache as the teacher's k most probable symbols and one tail mass; the
divergence is taken over those k + 1 outcomes, which never exceeds the divergence over all of them.
The paper leaves the reduction open: here the mean over supervised tokens of the sum over j, or the
mean over bytes.

Shape letters: S supervised tokens, M predicted symbols, X positions, H hidden, K kept symbols.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedModel

from bld.scoring.marginal import UNSPELT
from bld.symbols import END, MIN_PROBABILITY, SYMBOLS
from bld.training.alignment import Outcomes, covered, shared_outcomes
from bld.training.batches import Batch
from bld.training.heads import ByteHead, MarginalHead, OutputHead, load_head
from bld.training.histories import Histories
from bld.training.logits import token_loss
from bld.training.objective import ObjectiveContext, ObjectiveParts
from bld.training.objectives.one_to_one import shared_divergence


def build(settings: Mapping[str, Any], context: ObjectiveContext) -> ObjectiveParts:
    """With the byte head that it asks for; a marginal one needs histories."""
    others = {key: value for key, value in settings.items() if key not in ("head", "histories")}
    outcomes = shared_outcomes(context) if settings["shared_weight"] else None
    objective = Bld(**others, outcomes=outcomes)
    lm, renderer = context.lm, context.renderer
    match settings["head"]:
        case "marginal":
            logits = len(lm.get_output_embeddings().weight)
            histories = Histories(renderer, logits, settings["histories"])
            return ObjectiveParts(objective, MarginalHead(), histories)
        case "output":
            # Its tokens are its bytes: both cross-entropies are one, which is counted once.
            once = replace(objective, byte_weight=0.0) if objective.token_weight else objective
            return ObjectiveParts(once, OutputHead(lm, renderer.vocabulary))
        case trained:
            assert context.warmup is not None, (
                "the rule gives a warmed-up head to every run with one"
            )
            hidden = lm.config.get_text_config().hidden_size
            return ObjectiveParts(objective, load_head(trained, hidden, context.warmup))


@dataclass(frozen=True)
class Bld:
    """The loss of Eq. 5. A part whose weight is 0 is not computed; the warm-up is this objective
    without `kl_weight`, and without `token_weight` while the body is frozen.

    `mask_end`, `mask_whitespace`: leave ends of turns, and the bytes of tokens that are only
    whitespace, out of the byte parts; what they are divided by stays. `temperature` softens both
    sides of the divergence, see `divergence_from_top_k`. `outcomes`: what both vocabularies spell,
    needed by `shared_weight`.
    """

    token_weight: float = 1.0
    byte_weight: float = 1.0
    kl_weight: float = 0.1
    reduction: str = "token"
    temperature: float = 1.0
    mask_end: bool = False
    mask_whitespace: bool = False
    shared_weight: float = 0.0
    shared_bytes: bool = True
    outcomes: Outcomes | None = None

    def losses(
        self, lm: PreTrainedModel, head: ByteHead, hidden_XH: torch.Tensor, batch: Batch
    ) -> dict[str, torch.Tensor]:
        """`loss` is what is descended; `token_loss`, `byte_loss`, `kl_loss` and `teacher_loss` (of
        shared tokens) are its parts, unweighted, in nats."""
        symbol_M, log_probs_MS, token_log_probs_S = head(lm, hidden_XH, batch)
        true_M = batch.symbols_N[symbol_M]
        if self.mask_end or self.mask_whitespace:
            kept_M = torch.ones_like(symbol_M, dtype=torch.bool)
            if self.mask_end:
                kept_M &= true_M != END
            if self.mask_whitespace:
                kept_M &= ~batch.blank_N[symbol_M]
            symbol_M, log_probs_MS, true_M = symbol_M[kept_M], log_probs_MS[kept_M], true_M[kept_M]
        shared_by = batch.token_normaliser if self.reduction == "token" else batch.byte_normaliser

        parts: dict[str, torch.Tensor] = {}
        if self.token_weight:
            parts["token_loss"] = (
                token_loss(lm, hidden_XH, batch)
                if token_log_probs_S is None
                else -batch.from_corpus(token_log_probs_S).sum() / batch.token_normaliser
            )
        if self.byte_weight:
            true_log_probs_M = log_probs_MS.gather(1, true_M[:, None])[:, 0]
            if batch.is_student_written_N is not None:
                true_log_probs_M = true_log_probs_M.masked_fill(
                    batch.is_student_written_N[symbol_M], 0.0
                )
            parts["byte_loss"] = -true_log_probs_M.sum() / shared_by
        in_shared_N = torch.zeros_like(batch.symbols_N, dtype=torch.bool)
        if self.outcomes:
            shared = shared_divergence(self.outcomes, lm, hidden_XH, batch, self.temperature)
            parts["teacher_loss"] = shared.divergence_M.sum() / batch.token_normaliser
            if not self.shared_bytes:
                start_M = batch.symbol_S[shared.token_M]
                stop_M = start_M + batch.count_S[shared.token_M]
                in_shared_N = covered(start_M, stop_M, len(in_shared_N) + 1)[:-1]
        if self.kl_weight:
            divergence_M = divergence_from_top_k(
                batch.teacher_symbols_NK[symbol_M],
                batch.teacher_log_probs_NK[symbol_M],
                batch.teacher_log_tail_N[symbol_M],
                log_probs_MS,
                self.temperature,
            )
            alone_M = divergence_M.masked_fill(in_shared_N[symbol_M], 0.0)
            parts["kl_loss"] = alone_M.sum() / shared_by
        weights = {
            "token_loss": self.token_weight,
            "byte_loss": self.byte_weight,
            "kl_loss": self.kl_weight,
            "teacher_loss": self.shared_weight,
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
    (see `scoring.marginal.UNSPELT`) are left out, where the divergence would be infinite: what is
    left is that over the others, weighed by the mass that the teacher gives them. With a
    temperature t both sides are p^(1/t), normalised, over those k + 1 outcomes, and the divergence
    counts t^2, so that its gradient keeps its size (Hinton et al., 2015).
    """
    student_MK = student_log_probs.gather(1, symbols_MK)
    # Unused places strike out the first symbol once more.
    kept_MK = symbols_MK.where(log_probs_MK > -torch.inf, symbols_MK[:, :1])
    student_tail_M1 = student_log_probs.exp().scatter(1, kept_MK, 0.0).sum(1, keepdim=True)
    least = torch.finfo(student_tail_M1.dtype).tiny

    teacher = torch.cat([log_probs_MK, log_tail_M[:, None]], 1)
    student = torch.cat([student_MK, student_tail_M1.clamp_min(least).log()], 1)
    is_spelt = torch.cat([student_MK != UNSPELT, student_tail_M1 > SYMBOLS * MIN_PROBABILITY], 1)
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
