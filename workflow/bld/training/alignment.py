"""Student and teacher side by side: which of their tokens span the same symbols, which both count
alike; and what entries of both vocabularies spell.

Ids count by what they spell: several ids that spell the same bytes are one outcome, and all end
tokens of a model are the outcome END. Shared outcomes are numbered by their bytes, END last.

Shape letters: S student tokens, U teacher tokens, N symbols, M pairs, C cuts, R spans; of
vocabularies V the student's logits, W the teacher's entries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from bld.tokenization.vocabulary import Vocabulary, spelt
from bld.training.batches import Batch, TeacherTokens
from bld.training.objective import ObjectiveContext


@dataclass(frozen=True)
class Chunks:
    """`of_S`, `of_U`: the chunk that a token belongs to, -1 for none; `count`: how many there
    are."""

    of_S: torch.Tensor
    of_U: torch.Tensor
    count: int


def same_spans(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Indexes (s_M, u_M) of student and teacher tokens that spell exactly the same symbols, by
    rising s."""
    teacher = _tokens(batch)
    at_N = batch.symbol_S.new_full((len(batch.symbols_N) + 1,), -1)
    at_N[teacher.symbol_U] = torch.arange(len(teacher.symbol_U), device=at_N.device)
    u_S = at_N[batch.symbol_S]
    count_U1 = torch.cat([teacher.count_U, teacher.count_U.new_tensor([-1])])
    is_same_S = batch.count_S == count_U1[u_S]
    return is_same_S.nonzero()[:, 0], u_S[is_same_S]


def chunks(batch: Batch) -> Chunks:
    """The smallest ranges of symbols that begin and end at a token boundary of both models, and of
    which both spell every symbol."""
    teacher, size = _tokens(batch), len(batch.symbols_N) + 1
    stop_S, stop_U = batch.symbol_S + batch.count_S, teacher.symbol_U + teacher.count_U
    cut_N = _marked(batch.symbol_S, stop_S, size) & _marked(teacher.symbol_U, stop_U, size)
    spelt_N = covered(batch.symbol_S, stop_S, size) & covered(teacher.symbol_U, stop_U, size)
    # A cut lies inside no token, so a token belongs to the range from the last cut before it.
    spelt_before_N = torch.cat([spelt_N.new_zeros(1, dtype=torch.long), spelt_N.cumsum(0)])
    cut_C = torch.cat([cut_N.nonzero()[:, 0], batch.symbol_S.new_tensor([size])])
    is_whole_C = spelt_before_N[cut_C].diff() == cut_C.diff()
    number_C = torch.where(is_whole_C, is_whole_C.cumsum(0) - 1, -1)
    # The ranges before the first cut and after the last are none.
    number_C = torch.cat([number_C.new_tensor([-1]), number_C, number_C.new_tensor([-1])])
    of_S, of_U = (
        number_C[torch.searchsorted(cut_C, start.contiguous(), right=True)]
        for start in (batch.symbol_S, teacher.symbol_U)
    )
    # What spells nothing stands at a symbol, and is no part of it.
    return Chunks(of_S.where(batch.count_S > 0, -1), of_U, int(is_whole_C.sum()))


def supervised_spans(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The number of the supervised span that each student token [S] and each teacher token [U]
    belongs to, rising.

    A span is an unbroken range of supervised tokens: a text, or an answer with its end, or what a
    row has of it. Rows are packed, so a batch has many; methods that pair positions in order, or
    align sequences, do so inside one.
    """
    begins_S = ~follows(batch)
    first_R = batch.symbol_S[begins_S]
    span_U = torch.searchsorted(first_R, _tokens(batch).symbol_U, right=True) - 1
    return begins_S.cumsum(0) - 1, span_U


def follows(batch: Batch) -> torch.Tensor:
    """[S]: whether a student token stands right behind the one before it, in the same piece."""
    is_next_S = torch.zeros_like(batch.source_S, dtype=torch.bool)
    is_next_S[1:] = batch.source_S[1:] == batch.source_S[:-1] + 1
    return is_next_S


def _tokens(batch: Batch) -> TeacherTokens:
    assert batch.teacher_tokens is not None, "the batch was made without the teacher's tokens"
    return batch.teacher_tokens


def _marked(start: torch.Tensor, stop: torch.Tensor, size: int) -> torch.Tensor:
    """[size]: whether a token begins or ends there."""
    marked_N = torch.zeros(size, dtype=torch.bool, device=start.device)
    marked_N[start] = marked_N[stop] = True
    return marked_N


def covered(start: torch.Tensor, stop: torch.Tensor, size: int) -> torch.Tensor:
    """[size]: whether a symbol lies in one of the tokens."""
    change_N = torch.zeros(size, dtype=torch.long, device=start.device)
    one = torch.ones_like(start)
    return change_N.index_add_(0, start, one).index_add_(0, stop, -one).cumsum(0) > 0


class Outcomes:
    """`student_V` and `teacher_W`: the shared outcome of each id, or `count` for all that is not
    shared: what one of them alone spells, special tokens, logits without a token."""

    def __init__(self, student: Vocabulary, logits: int, teacher: Vocabulary) -> None:
        spelt_by_student, spelt_by_teacher = spelt(student), spelt(teacher)
        both = {*spelt_by_student.values()} & {*spelt_by_teacher.values()}
        number = {text: place for place, text in enumerate(sorted(both))}
        self.count = len(number)
        self.student_V = self._of(spelt_by_student, number, logits)
        self.teacher_W = self._of(spelt_by_teacher, number, len(teacher))

    def _of(
        self,
        entries: dict[int, tuple[bool, bytes]],
        number: dict[tuple[bool, bytes], int],
        size: int,
    ) -> torch.Tensor:
        outcome = np.full(size, self.count)
        for token_id, text in entries.items():
            outcome[token_id] = number.get(text, self.count)
        return torch.from_numpy(outcome)


def shared_outcomes(context: ObjectiveContext) -> Outcomes:
    """What the student's and the teacher's tokens have in common."""
    assert context.teacher is not None, "the stage gives the teacher's vocabulary"
    logits = len(context.lm.get_output_embeddings().weight)
    return Outcomes(context.renderer.vocabulary, logits, context.teacher)
