"""Two vocabularies side by side: what both of them spell.

Ids count by what they spell: several ids that spell the same bytes are one outcome, and all end
tokens of a model are the outcome END. Shared outcomes are numbered by their bytes, END last.

Shape letters: V the student's logits, W the teacher's entries, K kept tokens, C shared outcomes.
"""

from __future__ import annotations

import numpy as np
import torch

from bld.tokenization.vocabulary import Vocabulary, spelt
from bld.training.objective import ObjectiveContext


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
