"""The projection of X-Token (arXiv 2605.21699) from a student's vocabulary to a teacher's: the
matrix W, made from what entries spell.

* An entry that the teacher has too goes to that one, with weight 1.
* Any other is spelt in the teacher's tokens, of which the first counts most: of token i the weight
  is 0.1^i of the first one's (0.9, 0.09, 0.009 and 0.0009 in the authors' code), over at most four
  tokens. A row sums to 1.
* End tokens go to end tokens. Special and absent ids have no row.

Deviations: entries are compared as bytes, where the authors compare decoded text and need rules for
its artefacts. They also spell the teacher's entries in the student's tokens and pair special tokens
by names that look alike; both are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from bld.tokenization.maps.files import VocabularyMap, map_of, same_spelling
from bld.tokenization.rendering import Renderer
from bld.tokenization.spelling import spell
from bld.tokenization.vocabulary import spelt

DECAY = 0.1
MOST_TOKENS = 4


def make_map(student: Renderer, teacher: Renderer) -> VocabularyMap:
    """W as pairs. An entry that the teacher cannot spell has no row either."""
    return map_of(_pairs(student, teacher))


def _pairs(student: Renderer, teacher: Renderer) -> Iterator[tuple[int, int, float]]:
    same = dict(same_spelling(student.vocabulary, teacher.vocabulary))
    for token_id, (_, text) in spelt(student.vocabulary).items():
        if token_id in same:
            yield token_id, same[token_id], 1.0
        else:
            for other, weight in _weights(text, teacher).items():
                yield token_id, other, weight


def _weights(text: bytes, teacher: Renderer) -> dict[int, float]:
    """The teacher's tokens that spell these bytes, each with the sum of its weights; none if it
    cannot spell them."""
    tokens = spell(text, teacher)[:MOST_TOKENS]
    total = sum(DECAY**place for place in range(len(tokens)))
    weights: dict[int, float] = defaultdict(float)
    for place, token_id in enumerate(tokens):
        weights[token_id] += DECAY**place / total
    return weights
