"""How far the tokenizers of a student and a teacher agree: what decides how much methods that need
shared tokens can learn.

Shape letters: T tokens of a rendered document.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from bld.documents.document import Document
from bld.tokenization.rendered import Rendered
from bld.tokenization.rendering import Renderer


def alignment(
    documents: Iterable[Document], student: Renderer, teacher: Renderer
) -> dict[str, Any]:
    """Counts over the content of these documents, and over both vocabularies.

    `tokens`: the student's, the teacher's, and those of the student that have exactly the bytes of
    a token of the teacher. `bytes`: all, and those after which a token of both ends. `vocabulary`:
    the distinct byte strings that each has, and those that both have.
    """
    spelt_by_student, spelt_by_teacher = (
        {text for text in renderer.vocabulary.token_bytes if text}
        for renderer in (student, teacher)
    )
    counts = [
        _counts(
            *(r.render(document.segments, f"document {document.id}") for r in (student, teacher))
        )
        for document in documents
    ]
    totals = np.array(counts, int).reshape(-1, 5).sum(axis=0)
    of_student, of_teacher, aligned, total, shared = totals.tolist()
    return {
        "documents": len(counts),
        "vocabulary": {
            "student": len(spelt_by_student),
            "teacher": len(spelt_by_teacher),
            "shared": len(spelt_by_student & spelt_by_teacher),
        },
        "tokens": {"student": of_student, "teacher": of_teacher, "aligned": aligned},
        "bytes": {"total": total, "shared_boundary": shared},
    }


def _counts(student: Rendered, teacher: Rendered) -> tuple[int, int, int, int, int]:
    """Tokens of both, aligned ones, bytes, and bytes with a shared boundary; of the supervised text
    alone where the templates change other text."""
    spans = _content_spans if student.content == teacher.content else _supervised_spans
    starts_T, stops_T = spans(student)
    other_starts_T, other_stops_T = spans(teacher)
    total = int(stops_T.max(initial=0))
    # A span as one number.
    spans_T, other_spans_T = (
        starts_T * (total + 1) + stops_T,
        other_starts_T * (total + 1) + other_stops_T,
    )
    aligned = len(np.intersect1d(spans_T, other_spans_T))
    boundaries = len(np.intersect1d(stops_T, other_stops_T))
    return len(stops_T), len(other_stops_T), aligned, total, boundaries


def _content_spans(rendered: Rendered) -> tuple[np.ndarray, np.ndarray]:
    """First and last offset of each content token in the document's bytes, int64."""
    starts_T, stops_T = rendered.span_T2[rendered.span_T2[:, 0] >= 0].astype(np.int64).T
    return starts_T, stops_T


def _supervised_spans(rendered: Rendered) -> tuple[np.ndarray, np.ndarray]:
    """First and last offset of each supervised content token in the supervised symbols, int64."""
    supervised_T = (rendered.symbol_T >= 0) & (rendered.span_T2[:, 0] >= 0)
    starts_T = rendered.symbol_T[supervised_T].astype(np.int64)
    return starts_T, starts_T + rendered.count_T[supervised_T]
