"""Approximate likelihood matching (Minixhofer et al., arXiv 2503.20083): both models should find
the same stretches of text, chunks that begin and end at a token boundary of both, equally probable.

    L = w_token * CE_token + w_chunk * tau * sum over chunks of  f(p_T^(1/tau) || p_S^(1/tau)),

f being a divergence over two outcomes, this chunk and any other ("ALM Objective"; the paper names
its equations), p the product over a chunk's tokens ("Chunk-Level Probability"). Chunks are debiased
as in section 3.1: p also counts the probability that a token follows which begins with a pretoken
boundary (space, tab, newline, or a special token); chunks whose boundary the teacher gives no more
than gamma are joined with the next. Defaults as in github.com/bminixhofer/tokenkit: tau = 100, f =
KL (its `binary_ce`, less the teacher's entropy, which has no gradient), gamma = 0.1
(`merge_by_space_prob+append_space`), 1e-6 taken off tempered log-probabilities against certainty.

Deviations:
* Losses are summed with fixed weights; GradMag (section 3.3), which scales each to the same
  gradient at the last layer, is left out. To the same end the divergence counts tau times: for
  large tau its gradient is then 1 - log p_T / log p_S times that of -log p_S, where it would shrink
  as 1 / tau.
* Of the teacher's boundary only the kept tokens' part is known, and that the rest adds at most the
  tail: in between, the value nearest to the student's is taken, so that what is not known teaches
  nothing. Whether chunks are joined is asked of the known part alone. Where all tokens are kept it
  is exact.
* Chunks are never joined across the end of a run of supervised tokens (an answer with its end, a
  text, or what a row has of it), and the last of a run has no boundary: what the models would say
  behind it is not scored. Teacher tokens that reach across the edge of a row are missing there, and
  their chunk.
* The sum over chunks is divided by all supervised tokens, not by the number of chunks.
* No alignment of hidden states (section 3.2), which the authors advise only between equal
  architectures.

`boundary: null` is the authors' plain variant: the shortest chunks, without debiasing.

Shape letters: S supervised tokens, U teacher tokens, B a block, C chunks, G groups of chunks, K
kept tokens, V and W the vocabularies of student and teacher, O their tokens that open a pretoken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from bld.config.methods.alm import AlmSettings
from bld.tokenization.vocabulary import Vocabulary
from bld.training.alignment import Chunks, chunks, follows
from bld.training.batches import Batch, TeacherTokens
from bld.training.logits import by_blocks
from bld.training.objective import ObjectiveContext, ObjectiveParts

BOUNDARIES = b" \t\n"
CERTAINTY = 1e-6
LOWEST = -100.0  # log-probability of a boundary that the teacher rules out


def build(settings: Mapping[str, Any], context: ObjectiveContext) -> ObjectiveParts:
    """It needs to know which tokens of either vocabulary open a pretoken."""
    assert context.teacher is not None, "the stage gives the teacher's vocabulary"
    return ObjectiveParts(
        Alm(
            AlmSettings.model_validate(settings),
            torch.tensor(openers(context.renderer.vocabulary)),
            torch.tensor(openers(context.teacher)),
        )
    )


def openers(vocabulary: Vocabulary) -> list[int]:
    """The ids of special tokens and of those that begin with a boundary."""
    return [
        i
        for i, text in enumerate(vocabulary.token_bytes)
        if i in vocabulary.special or (text and text[0] in BOUNDARIES)
    ]


class Alm:
    """The token cross-entropy and the divergence between chunk likelihoods.

    `student_O` and `teacher_O` are the ids that open a pretoken.
    """

    def __init__(
        self, settings: AlmSettings, student_O: torch.Tensor, teacher_O: torch.Tensor
    ) -> None:
        self.settings, self.student_O, self.teacher_O = settings, student_O, teacher_O

    def losses(
        self, lm: PreTrainedModel, head: object, hidden_XH: torch.Tensor, batch: Batch
    ) -> dict[str, torch.Tensor]:
        """`loss` is what is descended; its parts, unweighted, are `token_loss` in nats and
        `teacher_loss`, tau times the divergence."""
        settings, teacher, of = self.settings, batch.teacher_tokens, chunks(batch)
        assert teacher is not None, "the batch was made without the teacher's tokens"
        student_O = self.student_O.to(hidden_XH.device)

        def token_and_boundary(log_probs_BV: torch.Tensor, target_B: torch.Tensor) -> torch.Tensor:
            token_B = log_probs_BV.gather(1, target_B[:, None])[:, 0]
            if settings.boundary is None:
                return token_B[:, None]
            return torch.stack([token_B, log_probs_BV[:, student_O].logsumexp(1)], 1)

        log_probs_S2 = by_blocks(
            lm, hidden_XH[batch.source_S], token_and_boundary, batch.target_S
        ).double()
        student = summed(log_probs_S2[:, 0], of.of_S, of.count)
        known = summed(teacher.log_prob_U.double(), of.of_U, of.count)
        if settings.boundary is not None:
            boundary_U2 = self._boundary(teacher)
            student, known = joined(
                batch, of, student, known, log_probs_S2[:, 1], boundary_U2, settings.boundary
            )
        divergence = tempered(known, student, settings.temperature, settings.divergence)
        parts = {
            "teacher_loss": settings.temperature * divergence.sum() / batch.token_normaliser,
            "token_loss": -batch.from_corpus(log_probs_S2[:, 0]).sum() / batch.token_normaliser,
        }
        loss = settings.chunk_weight * parts["teacher_loss"]
        loss = loss + settings.token_weight * parts["token_loss"]
        return {"loss": loss.float(), **{name: part.float() for name, part in parts.items()}}

    def _boundary(self, teacher: TeacherTokens) -> torch.Tensor:
        """Log-probability that token u opens a pretoken: at least and at most, [U, 2]."""
        opens_UK = torch.isin(teacher.ids_UK, self.teacher_O.to(teacher.ids_UK.device))
        least_U = teacher.log_probs_UK.masked_fill(~opens_UK, -torch.inf).logsumexp(1)
        most_U = torch.logaddexp(least_U, teacher.log_tail_U)
        return torch.stack([least_U, most_U], 1).double().clamp(LOWEST, 0.0)


def summed(log_prob: torch.Tensor, of: torch.Tensor, count: int) -> torch.Tensor:
    """The sums of tokens' log-probabilities over `count` chunks; tokens in none are left out."""
    inside = of >= 0
    return log_prob.new_zeros(count).index_add(0, of[inside], log_prob[inside])


def joined(
    batch: Batch,
    of: Chunks,
    student_C: torch.Tensor,
    teacher_C: torch.Tensor,
    boundary_S: torch.Tensor,
    boundary_U2: torch.Tensor,
    threshold: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities [G] of student and teacher of chunks joined until the teacher finds a
    boundary behind them more probable than `threshold`, that boundary included."""
    tokens = batch.teacher_tokens
    assert tokens is not None
    adjoins_U = torch.zeros_like(tokens.symbol_U, dtype=torch.bool)
    adjoins_U[1:] = tokens.symbol_U[1:] == (tokens.symbol_U + tokens.count_U)[:-1]
    s_C = _behind(of.of_S, follows(batch), of.count)
    u_C = _behind(of.of_U, adjoins_U, of.count)
    known = ((s_C >= 0) & (u_C >= 0)).nonzero()[:, 0]
    s_known, u_known = s_C[known], u_C[known]

    number = torch.arange(of.count, device=known.device)
    closes_C = torch.ones_like(number, dtype=torch.bool)
    is_faint = boundary_U2[u_known, 0] <= math.log(threshold)
    closes_C[known] = ~((of.of_S[s_known] == known + 1) & is_faint)
    group_C = closes_C.cumsum(0) - closes_C.long()

    student_boundary = boundary_S[s_known]
    teacher_boundary = student_boundary.detach().clamp(
        boundary_U2[u_known, 0], boundary_U2[u_known, 1]
    )
    counts = closes_C[known].to(student_boundary.dtype)
    student_C = student_C.index_add(0, known, student_boundary * counts)
    teacher_C = teacher_C.index_add(0, known, teacher_boundary * counts)
    groups = int(closes_C.sum())
    return summed(student_C, group_C, groups), summed(teacher_C, group_C, groups)


def _behind(of: torch.Tensor, adjoins: torch.Tensor, count: int) -> torch.Tensor:
    """The token right behind each chunk, [count]; -1 where none is."""
    token = torch.arange(len(of), device=of.device)[1:]
    is_behind = adjoins[1:] & (of[:-1] >= 0) & (of[1:] != of[:-1])
    behind = of.new_full((count,), -1)
    behind[of[:-1][is_behind]] = token[is_behind]
    return behind


def tempered(
    teacher: torch.Tensor, student: torch.Tensor, temperature: float, divergence: str
) -> torch.Tensor:
    """The divergence of two outcomes, given log-probabilities of the first, which are taken to the
    power of 1 / temperature."""
    teacher, student = (
        side.clamp_max(0.0) / temperature - CERTAINTY for side in (teacher, student)
    )
    match divergence:
        case "kl":
            return _binary_kl(teacher, student)
        case "reverse_kl":
            return _binary_kl(student, teacher)
        case _:
            return (teacher.exp() - student.exp()).abs()


def _binary_kl(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    other = -left.expm1() * (_log_complement(left) - _log_complement(right))
    return left.exp() * (left - right) + other


def _log_complement(log_prob: torch.Tensor) -> torch.Tensor:
    """log(1 - p)."""
    return torch.where(
        log_prob > -math.log(2), (-log_prob.expm1()).log(), (-log_prob.exp()).log1p()
    )
