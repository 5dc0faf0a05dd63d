"""The oracle: byte distributions by enumerating every cover of a text, as slow as the definition.

A cover of a text is a token sequence whose tokens but the last (the history) lie inside the text
and whose last token reaches its end or goes beyond (Eq. 3 of arXiv 2604.07466). Float64 throughout.
For tests on tiny vocabularies and short texts only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import cache
from math import exp

import numpy as np

from bld.symbols import END, SPECIAL
from bld.tokenization.vocabulary import Vocabulary

Tokens = tuple[int, ...]
NextLogProbs = Callable[[Tokens], np.ndarray]


def all_covers(next_log_probs: NextLogProbs, vocabulary: Vocabulary, text: bytes) -> np.ndarray:
    """log P(symbol | text[:n]) [len(text) + 1, 258] over all covers: the ratios of Eq. 3.

    `next_log_probs(tokens)` [V] is the log-distribution of the token that follows `tokens`.
    """
    mass = _symbol_masses(next_log_probs, vocabulary, text, None)
    reached = [cover_mass(next_log_probs, vocabulary, text[:n]) for n in range(len(text) + 1)]
    with np.errstate(divide="ignore"):
        return np.log(mass / np.array(reached)[:, None])


def covers_of_histories(
    next_log_probs: NextLogProbs, vocabulary: Vocabulary, text: bytes, histories: Collection[Tokens]
) -> np.ndarray:
    """As `all_covers`, over the covers whose history is one of `histories`, rows normalised."""
    mass = _symbol_masses(next_log_probs, vocabulary, text, histories)
    with np.errstate(divide="ignore"):
        return np.log(mass / mass.sum(axis=1, keepdims=True))


def cover_mass(
    next_log_probs: NextLogProbs,
    vocabulary: Vocabulary,
    prefix: bytes,
    histories: Collection[Tokens] | None = None,
) -> float:
    """P({prefix}), the probability of all covers, or of those whose history is in `histories`."""
    if not prefix:
        return 1.0
    return sum(
        exp(_log_prob(next_log_probs, (*history, last)))
        for history, last in covers(vocabulary, prefix)
        if histories is None or history in histories
    )


def covers(
    vocabulary: Vocabulary, prefix: bytes, history: Tokens = ()
) -> Iterator[tuple[Tokens, int]]:
    """Every cover of a nonempty prefix, as (history, last token)."""
    for token, spelt in _content(vocabulary):
        if spelt.startswith(prefix):
            yield history, token
        elif prefix.startswith(spelt):
            yield from covers(vocabulary, prefix[len(spelt) :], (*history, token))


def spellings(vocabulary: Vocabulary, text: bytes) -> Iterator[Tokens]:
    """Every token sequence that spells the text exactly."""
    if not text:
        yield ()
    for token, spelt in _content(vocabulary):
        if text.startswith(spelt):
            for rest in spellings(vocabulary, text[len(spelt) :]):
                yield (token, *rest)


def _symbol_masses(
    next_log_probs: NextLogProbs,
    vocabulary: Vocabulary,
    text: bytes,
    histories: Collection[Tokens] | None,
) -> np.ndarray:
    next_log_probs = cache(next_log_probs)
    closing = {END: vocabulary.end, SPECIAL: _special(vocabulary)}
    mass = np.zeros((len(text) + 1, 258))
    for n in range(len(text) + 1):
        for byte in {byte for _, spelt in _content(vocabulary) for byte in spelt}:
            prefix = text[:n] + bytes([byte])
            mass[n, byte] = cover_mass(next_log_probs, vocabulary, prefix, histories)
        for history in spellings(vocabulary, text[:n]):
            if histories is None or history in histories:
                for symbol, ids in closing.items():
                    for token in ids:
                        mass[n, symbol] += exp(_log_prob(next_log_probs, (*history, token)))
    return mass


def _log_prob(next_log_probs: NextLogProbs, tokens: Tokens) -> float:
    return sum(float(next_log_probs(tokens[:i])[token]) for i, token in enumerate(tokens))


def _content(vocabulary: Vocabulary) -> list[tuple[int, bytes]]:
    return [(token, spelt) for token, spelt in enumerate(vocabulary.token_bytes) if spelt]


def _special(vocabulary: Vocabulary) -> frozenset[int]:
    empty = frozenset(i for i, spelt in enumerate(vocabulary.token_bytes) if spelt == b"")
    return (vocabulary.special | empty) - vocabulary.end
