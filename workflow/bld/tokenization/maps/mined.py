"""The map of MinED (arXiv 2401.10491): for every entry of a teacher's vocabulary the student's
entry that is closest by edit distance.

The authors compare entries as text without the marks of their tokenizers; here what they spell is
compared, byte by byte. Of several closest entries the shortest counts, and of those the one with
the smallest id; the paper leaves that open. End tokens go to end tokens; special and absent ids
have no pair. Every pair of entries is compared, so nothing is approximate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from bld.arrays import threads
from bld.progress import progress
from bld.tokenization.maps.files import VocabularyMap, map_of, same_spelling
from bld.tokenization.rendering import Renderer
from bld.tokenization.vocabulary import Vocabulary, spelt

BLOCK = 256


def make_map(student: Renderer, teacher: Renderer) -> VocabularyMap:
    """One pair for every entry of the teacher, of weight 1."""
    return closest_entries(student.vocabulary, teacher.vocabulary)


def closest_entries(student: Vocabulary, teacher: Vocabulary) -> VocabularyMap:
    """As `make_map`."""
    pairs = dict(same_spelling(teacher, student))
    others = [token_id for token_id in spelt(teacher) if token_id not in pairs]
    pairs |= zip(others, _closest(others, teacher, student), strict=True)
    return map_of((student_id, teacher_id, 1.0) for teacher_id, student_id in pairs.items())


def _closest(token_ids: Sequence[int], teacher: Vocabulary, student: Vocabulary) -> Iterator[int]:
    """The student's entry for each of the teacher's."""
    entries = sorted(
        (len(text), token_id, text)
        for token_id, (is_end, text) in spelt(student).items()
        if not is_end
    )
    ids = [token_id for _, token_id, _ in entries]
    texts = [text for _, _, text in entries]
    wanted = [teacher.token_bytes[token_id] for token_id in token_ids]
    starts = range(0, len(wanted), BLOCK)
    for start in progress("edit distances", len(starts), "blocks", iterable=starts):
        block = wanted[start : start + BLOCK]
        distances = process.cdist(
            block,
            texts,
            scorer=Levenshtein.distance,
            dtype=np.uint16,
            workers=threads(),
        )
        yield from (ids[place] for place in distances.argmin(axis=1))
