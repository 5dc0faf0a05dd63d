"""Scoring: documents in, the teacher's byte distributions out, one forward pass for a batch of
documents.

Shape letters: T tokens, V vocabulary, N supervised symbols, S symbols.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch

from bld.covers.trie import TRIE_SYMBOLS, Trie
from bld.covers.trunk import trunk_distributions
from bld.documents.document import Document
from bld.models import Reader
from bld.tokenization.rendering import Rendered, Renderer

DOCUMENTS_AT_ONCE = 256


def byte_distributions(
    documents: Iterable[Document], renderer: Renderer, reader: Reader
) -> Iterator[tuple[Document, np.ndarray, np.ndarray]]:
    """(document, log-probabilities [N, S], lost mass [N]) for every document, in order.

    Row n is the distribution of supervised symbol n given everything before it.
    """
    trie = Trie(renderer.vocabulary)
    stream = iter(documents)
    while batch := list(islice(stream, DOCUMENTS_AT_ONCE)):
        rendered = [renderer.render(d.segments, f"document {d.id}") for d in batch]
        found: list[tuple[np.ndarray, np.ndarray] | None] = [None] * len(batch)
        for index, log_probs_TV in reader.log_probs([r.ids_T for r in rendered]):
            found[index] = _symbols_of(rendered[index], trie, log_probs_TV)
        for document, distributions in zip(batch, found, strict=True):
            assert distributions is not None
            yield document, *distributions


def _symbols_of(
    rendered: Rendered, trie: Trie, log_probs_TV: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    turns = [
        trunk_distributions(
            trie,
            log_probs_TV[turn.first - 1 : turn.last].cpu(),
            rendered.ids_T[turn.first : turn.last].tolist(),
            turn.text,
        )
        for turn in rendered.turns
    ]
    no_turn = np.zeros((0, TRIE_SYMBOLS), np.float32), np.zeros(0, np.float32)
    log_probs, lost = zip(no_turn, *turns, strict=True)
    return np.concatenate(log_probs), np.concatenate(lost)
