"""X-Token (arXiv 2605.21699): the student is compared with the teacher in the teacher's vocabulary,
by a sparse matrix W from the student's tokens to the teacher's that rules make
(`tokenization.maps.x_token`).

    P-KL:  KL(p_T || p_S W) H-KL:  sum over common tokens of p_T log(p_T / p_S)  +  L1 of the other
    tokens, sorted by probability

    L = w_token * CE_token + w_KL * b * (P-KL or H-KL);  b = CE_token / divergence, without
    gradient, or 1 where w_token is 0

H-KL is the hybrid loss of GOLD (TRL), where common are tokens spelt alike (`matching: strict`).
Relaxed, every token of the student is common with its top-ranked token under W; of several that
want the same one that which is spelt alike gets it, then the heaviest, then the smallest id. b is
the authors' dynamic scaling (`balanced`).

Models are compared span by span: the authors align spans by dynamic programming over token texts;
here they are the shortest stretches of bytes at whose ends tokens of both models end, which for
tokens that spell the same text is what that search is after. Of a span of one token each side has
its distribution before that token. Of a span of several the authors average the student's projected
probabilities and the teacher's log-probabilities over its tokens; GOLD multiplies the probability
at one token by the probabilities of the others. Here probabilities are averaged on both sides, in
both losses: two equal models then differ by nothing.

Further deviations:
* The teacher's distribution is its kept tokens and one tail. P-KL is taken over the kept tokens
  that W reaches and one outcome for all the others; the authors drop all but the 8,192 tokens that
  are most probable in a micro batch. Kept tokens that W does not reach are left out and the rest is
  normalised, since the divergence would be infinite; the authors add 1e-10 to every probability.
* H-KL takes the tail for one more common outcome, compared with what the student has left, and
  compares as many of the student's other tokens as the teacher has kept; without a tail all count,
  as in GOLD.
* Special tokens, of either model, that end nothing count with the tail.
* Ids of the teacher that spell the same bytes are one outcome, and so are all its end tokens.
* Sums over spans are divided by the supervised tokens of the step, not by the spans. No temperature
  (the authors' is 1), no reverse divergence.

Shape letters: S supervised tokens, U teacher tokens, M those of either in spans, B student tokens
of a block, C spans, V the student's logits, O outcomes: what the teacher's tokens spell, K kept
tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel

from bld.config.methods.x_token import XTokenSettings
from bld.symbols import MIN_PROBABILITY
from bld.tokenization.maps.files import VocabularyMap, load_map
from bld.tokenization.vocabulary import Vocabulary, spelt
from bld.training.alignment import chunks
from bld.training.batches import Batch, TeacherTokens
from bld.training.logits import BLOCK_TOKENS, by_blocks, token_loss
from bld.training.objective import ObjectiveContext, ObjectiveParts, TeacherObjective

LARGEST_SCALE = 1e6


def build(settings: Mapping[str, Any], context: ObjectiveContext) -> ObjectiveParts:
    """It reads W."""
    assert context.teacher is not None and context.map is not None, "the stage gives both"
    logits = len(context.lm.get_output_embeddings().weight)
    vocabularies = context.renderer.vocabulary, context.teacher
    projection = Projection(load_map(context.map), *vocabularies, logits)
    return ObjectiveParts(XToken(XTokenSettings.model_validate(settings), projection))


class XToken(TeacherObjective):
    """The token cross-entropy and P-KL or H-KL."""

    def __init__(self, settings: XTokenSettings, projection: Projection) -> None:
        super().__init__(settings.kl_weight, settings.token_weight)
        self.settings, self.projection = settings, projection

    @torch.no_grad()
    def scale(
        self,
        lm: PreTrainedModel,
        hidden_XH: torch.Tensor,
        batch: Batch,
        losses: dict[str, torch.Tensor],
    ) -> torch.Tensor | float:
        """What makes the divergence as large as the cross-entropy of all tokens, those of the
        student's own text too; at most LARGEST_SCALE, since next to nothing may be rounding."""
        if not self.settings.balanced:
            return 1.0
        size = losses["token_loss"]
        if batch.is_student_written_N is not None:
            size = token_loss(lm, hidden_XH, replace(batch, is_student_written_N=None))
        smallest = (size / LARGEST_SCALE).clamp_min(MIN_PROBABILITY)
        return size / torch.maximum(losses["teacher_loss"], smallest)

    def distance(self, lm: PreTrainedModel, hidden_XH: torch.Tensor, batch: Batch) -> torch.Tensor:
        """P-KL or H-KL of each span, [C], in nats (H-KL: and L1)."""
        assert batch.teacher_tokens is not None, "the batch was made without the teacher's tokens"
        projection, settings = self.projection.to(hidden_XH.device), self.settings
        spans = chunks(batch)
        s_M, span_M = _by_span(spans.of_S)
        teacher = _Spans(batch.teacher_tokens, *_by_span(spans.of_U))

        def divergence(log_probs_BV: torch.Tensor, span_B: torch.Tensor) -> torch.Tensor:
            if not len(span_B):
                return log_probs_BV.sum(1)
            first, stop = int(span_B[0]), int(span_B[-1]) + 1
            student_CV = _mean_by_span(log_probs_BV.exp(), span_B - first)
            targets = teacher.dense(first, stop, projection)
            if settings.loss == "p_kl":
                return projected_kl(targets, student_CV, projection)
            return hybrid_kl(targets, student_CV, projection, settings.matching == "strict")

        hidden_MH = hidden_XH[batch.source_S[s_M]]
        sizes = _whole_spans(span_M)
        return by_blocks(lm, hidden_MH, divergence, span_M, sizes=sizes)


class Projection:
    """W between outcomes and the student's logits, and which of them are common.

    `weights_OV`: sparse. `outcome_T` [teacher's ids + 1]: of each id what it spells, `outcomes` for
    nothing and for unused places (-1). `has_row_V`, `is_reached_O`: what W covers. `relaxed_V`,
    `strict_V`: the outcome that an id of the student is common with, or `outcomes`.
    """

    def __init__(
        self, pairs: VocabularyMap, student: Vocabulary, teacher: Vocabulary, logits: int
    ) -> None:
        outcome_of_text: dict[tuple[bool, bytes], int] = {}
        spelt_by_teacher = spelt(teacher)
        for text in spelt_by_teacher.values():
            outcome_of_text.setdefault(text, len(outcome_of_text))
        self.outcomes = len(outcome_of_text)
        self.outcome_T = torch.full((len(teacher) + 1,), self.outcomes)
        for token_id, text in spelt_by_teacher.items():
            self.outcome_T[token_id] = outcome_of_text[text]

        student_M, teacher_M, weight_M = (torch.from_numpy(column.copy()) for column in pairs)
        places_2M = torch.stack([self.outcome_T[teacher_M.long()], student_M.long()])
        size = self.outcomes, logits
        self.weights_OV = torch.sparse_coo_tensor(
            places_2M, weight_M, size, check_invariants=True
        ).coalesce()
        self.has_row_V = torch.zeros(logits, dtype=torch.bool)
        self.has_row_V[student_M.long()] = True
        self.is_reached_O = torch.zeros(self.outcomes, dtype=torch.bool)
        self.is_reached_O[places_2M[0]] = True
        ranked, texts_O = _top_ranked(self.weights_OV), list(outcome_of_text)
        self.relaxed_V, self.strict_V = (
            _common(ranked, spelt(student), texts_O, logits, strict) for strict in (False, True)
        )

    def to(self, device: torch.device) -> Projection:
        """The same on another device; itself where it is there."""
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                setattr(self, name, value.to(device))
        return self

    def project(self, student_CV: torch.Tensor) -> torch.Tensor:
        """p_S W, [C, O]."""
        projected_OC: torch.Tensor = torch.sparse.mm(self.weights_OV, student_CV.T)
        return projected_OC.T

    def beside(self, student_CV: torch.Tensor) -> torch.Tensor:
        """The student's mass on ids without a row, [C]."""
        return student_CV[:, ~self.has_row_V].sum(1)


class SpanTargets(NamedTuple):
    """The teacher's distributions over spans: the probabilities of its kept outcomes [C, O], 0 for
    the others; of what spells nothing, with the tail [C]; and whether there is no tail [C]."""

    probs_CO: torch.Tensor
    beside_C: torch.Tensor
    is_whole_C: torch.Tensor


class _Spans:
    """The teacher's tokens in spans."""

    def __init__(self, tokens: TeacherTokens, u_M: torch.Tensor, span_M: torch.Tensor) -> None:
        self._tokens, self._u_M, self._span_M = tokens, u_M, span_M

    def dense(self, first: int, stop: int, projection: Projection) -> SpanTargets:
        """The distributions of the spans [first, stop), the mean over the tokens of each."""
        inside_M = (self._span_M >= first) & (self._span_M < stop)
        u_M, span_M = self._u_M[inside_M], self._span_M[inside_M] - first
        share_M = 1.0 / span_M.bincount()[span_M]
        probs_MK = self._tokens.log_probs_UK[u_M].exp() * share_M[:, None]
        outcome_MK = projection.outcome_T[self._tokens.ids_UK[u_M]]
        width = projection.outcomes + 1
        probs_F = probs_MK.new_zeros((stop - first) * width)
        probs_F.index_add_(0, (span_M[:, None] * width + outcome_MK).flatten(), probs_MK.flatten())
        tail_M = self._tokens.log_tail_U[u_M].exp() * share_M
        tail_C = tail_M.new_zeros(stop - first).index_add_(0, span_M, tail_M)
        probs_CO, nothing_C1 = probs_F.view(-1, width).split([width - 1, 1], 1)
        return SpanTargets(probs_CO, nothing_C1[:, 0] + tail_C, tail_C == 0)


def projected_kl(
    targets: SpanTargets, student_CV: torch.Tensor, projection: Projection
) -> torch.Tensor:
    """P-KL of each span, over the kept outcomes that W reaches and one for all the others."""
    projected_CO = projection.project(student_CV)
    is_kept_CO = (targets.probs_CO > 0) & projection.is_reached_O
    left_C = (projected_CO * ~is_kept_CO).sum(1) + projection.beside(student_CV)
    teacher = torch.cat([targets.probs_CO * is_kept_CO, targets.beside_C[:, None]], 1)
    teacher = teacher / teacher.sum(1, keepdim=True).clamp_min(MIN_PROBABILITY)
    return _kl(teacher, torch.cat([projected_CO, left_C[:, None]], 1))


def hybrid_kl(
    targets: SpanTargets, student_CV: torch.Tensor, projection: Projection, strict: bool
) -> torch.Tensor:
    """H-KL of each span: common outcomes and the tail, and the L1 distance of the others."""
    common_V = projection.strict_V if strict else projection.relaxed_V
    is_common_O = torch.zeros_like(projection.is_reached_O)
    is_common_O[common_V[common_V < projection.outcomes]] = True
    padded_CO = student_CV.new_zeros(len(student_CV), projection.outcomes + 1)
    student_CO = padded_CO.index_add(1, common_V, student_CV)[:, :-1]

    is_other_V = (common_V == projection.outcomes) & projection.has_row_V
    teacher_sorted, student_sorted = _sorted_alike(
        targets.probs_CO[:, ~is_common_O], student_CV[:, is_other_V]
    )
    is_compared = (teacher_sorted > 0) | targets.is_whole_C[:, None]
    distance_C = ((teacher_sorted - student_sorted).abs() * is_compared).sum(1)

    is_kept_CO = is_common_O & (targets.probs_CO > 0)
    left_C = (student_CO * ~is_kept_CO).sum(1) + projection.beside(student_CV)
    left_C = left_C + (student_sorted * ~is_compared).sum(1)
    teacher = torch.cat([targets.probs_CO * is_kept_CO, targets.beside_C[:, None]], 1)
    return _kl(teacher, torch.cat([student_CO, left_C[:, None]], 1)) + distance_C


def _kl(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """Sum over outcomes, in nats; those that the teacher gives nothing count nothing."""
    terms = torch.xlogy(teacher, teacher) - teacher * student.clamp_min(MIN_PROBABILITY).log()
    return terms.sum(1)


def _sorted_alike(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both rows falling, the shorter ones filled up with zeros."""
    width = max(one.shape[1], other.shape[1])
    return tuple(  # type: ignore[return-value]
        F.pad(side.sort(1, descending=True).values, (0, width - side.shape[1]))
        for side in (one, other)
    )


def _common(
    ranked: Mapping[int, tuple[float, int]],
    spelling: Mapping[int, tuple[bool, bytes]],
    texts_O: Sequence[tuple[bool, bytes]],
    logits: int,
    strict: bool,
) -> torch.Tensor:
    """The outcome that each id gets, `len(texts_O)` for none; ids that spell the same share
    theirs."""
    first_of_text: dict[tuple[bool, bytes], int] = {}
    wishes: dict[int, tuple[int, tuple[bool, float, int]]] = {}
    for token_id in sorted(ranked):
        weight, outcome = ranked[token_id]
        is_other = spelling[token_id] != texts_O[outcome]
        first = first_of_text.setdefault(spelling[token_id], token_id)
        if not (strict and is_other):
            wishes[token_id] = outcome, (is_other, -weight, first)
    best: dict[int, tuple[bool, float, int]] = {}
    for outcome, rank in wishes.values():
        best[outcome] = min(best.get(outcome, rank), rank)
    common_V = torch.full((logits,), len(texts_O))
    for token_id, (outcome, rank) in wishes.items():
        if rank == best[outcome]:
            common_V[token_id] = outcome
    return common_V


def _top_ranked(weights_OV: torch.Tensor) -> dict[int, tuple[float, int]]:
    """Student id -> weight and outcome of its heaviest entry, of several the first."""
    found: dict[int, tuple[float, int]] = {}
    for outcome, token_id, weight in zip(
        *weights_OV.indices().tolist(), weights_OV.values().tolist(), strict=True
    ):
        if token_id not in found or weight > found[token_id][0]:
            found[token_id] = weight, outcome
    return found


def _by_span(span_S: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(index, span) of the tokens in spans, by rising span."""
    inside_M = (span_S >= 0).nonzero()[:, 0]
    order_M = inside_M[span_S[inside_M].argsort(stable=True)]
    return order_M, span_S[order_M]


def _whole_spans(span_M: torch.Tensor) -> list[int]:
    """Sizes of blocks, near the usual one, that cut no span."""
    stops_C = span_M.bincount().cumsum(0)
    blocks = ((stops_C - 1) // BLOCK_TOKENS).unique_consecutive(return_counts=True)[1]
    stops = [0, *stops_C[blocks.cumsum(0) - 1].tolist()]
    return [stop - start for start, stop in pairwise(stops)] or [0]


def _mean_by_span(probs_BV: torch.Tensor, span_B: torch.Tensor) -> torch.Tensor:
    """The mean over the tokens of each span, [C, V]; spans are numbered from 0 and rise."""
    if int(span_B[-1]) + 1 == len(span_B):
        return probs_BV
    count_C = span_B.bincount()
    sums_CV = probs_BV.new_zeros(len(count_C), probs_BV.shape[1])
    return sums_CV.index_add(0, span_B, probs_BV) / count_C[:, None]
