"""The vocabulary as a byte trie whose nodes are ranges, so that histories walk it together.

Sort a vocabulary by what its entries spell and every prefix owns a contiguous range of the sorted
order. A trie node is such a range, "the probability of the tokens that go on with byte b" is a sum
over one, and nothing else of a trie is needed. Nodes are numbered breadth first with siblings in
symbol order, hence edge e leads to node e + 1.

END and SPECIAL (see `tokenization.symbols`) are two more leaves below the root: an end token spells
the one symbol END. Bytes alone never lead there.

Shapes: I sorted tokens, M nodes, E edges (E = M - 1), R histories, N bytes of a text, A walkers or
(history, byte) pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bld.symbols import END, SPECIAL
from bld.tokenization.vocabulary import Vocabulary

TRIE_SYMBOLS = SPECIAL + 1  # 256 bytes, END, SPECIAL


class Alive(NamedTuple):
    """Histories alive: history_A stands at node_A when the text is read up to byte position_A."""

    history_A: np.ndarray
    node_A: np.ndarray
    position_A: np.ndarray


class Trie:
    """The trie of a vocabulary. Absent ids (no bytes, not special) are in no node; the root is 0.

    `ids_I`: token ids sorted by what they spell, then the end ids, then the other special ids and
    those whose bytes are empty. `rank_V`: where an id stands in that order, -1 if absent.
    `lo_M`, `hi_M`: the tokens that begin with a node's prefix are ids_I[lo:hi].
    `exact_hi_M`: those that spell just the prefix are ids_I[lo:exact_hi]; the ranges of the node's
    children tile [exact_hi, hi).
    `first_edge_M1` [M + 1]: the edges of node u are first_edge_M1[u] up to first_edge_M1[u + 1].
    `edge_symbol_E`: the symbol of an edge; edge e leads to node e + 1.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.ids_I, symbols, length_I = _sorted_entries(vocabulary)
        self.rank_V = np.full(len(vocabulary), -1)
        self.rank_V[self.ids_I] = np.arange(len(self.ids_I))
        self._build(symbols, length_I)

    def _build(self, symbols: np.ndarray, length_I: np.ndarray) -> None:
        """Number the nodes depth by depth: one begins wherever (parent, next symbol) changes."""
        offset_I = np.cumsum(length_I) - length_I
        node_I = np.zeros(len(length_I), np.int64)
        lo, hi, keys = [np.array([0])], [np.array([len(length_I)])], [np.empty(0, np.int64)]
        nodes, depth, reaching = 1, 0, np.flatnonzero(length_I > 0)
        while reaching.size:
            key = node_I[reaching] * TRIE_SYMBOLS + symbols[offset_I[reaching] + depth]
            first = np.flatnonzero(np.diff(key, prepend=-1))
            size = np.diff(first, append=len(key))
            lo.append(reaching[first])
            hi.append(reaching[first + size - 1] + 1)
            keys.append(key[first])
            node_I[reaching] = nodes + np.repeat(np.arange(len(first)), size)
            nodes, depth = nodes + len(first), depth + 1
            reaching = reaching[length_I[reaching] > depth]
        self.lo_M, self.hi_M = np.concatenate(lo), np.concatenate(hi)
        self.exact_hi_M = self.lo_M + np.bincount(node_I, minlength=nodes)
        self._edge_key_E = np.concatenate(keys)
        self.edge_symbol_E = self._edge_key_E % TRIE_SYMBOLS
        self.first_edge_M1 = np.searchsorted(self._edge_key_E, np.arange(nodes + 1) * TRIE_SYMBOLS)

    def __len__(self) -> int:
        return len(self.lo_M)

    def step(self, node_A: np.ndarray, symbol_A: np.ndarray) -> np.ndarray:
        """The child [A] of each node by its symbol, -1 where there is none."""
        key_A = np.asarray(node_A, np.int64) * TRIE_SYMBOLS + symbol_A
        edge_A = np.searchsorted(self._edge_key_E, key_A)
        found_A = edge_A < len(self._edge_key_E)
        found_A[found_A] = self._edge_key_E[edge_A[found_A]] == key_A[found_A]
        return np.where(found_A, edge_A + 1, -1)

    def walk(self, text: bytes, start_R: np.ndarray, stop_R: np.ndarray) -> Alive:
        """Walk from the root along text[start:stop], every history at once, as far as it goes.

        A history is listed once for every byte it is alive at, its start (the root) included.
        """
        byte_N = np.frombuffer(text, np.uint8)
        here = Alive(np.arange(len(start_R)), np.zeros(len(start_R), np.int64), np.asarray(start_R))
        levels = [here]
        while here.history_A.size:
            more_A = here.position_A < stop_R[here.history_A]
            here = Alive(*(column[more_A] for column in here))
            child_A = self.step(here.node_A, byte_N[here.position_A])
            on_A = child_A >= 0
            here = Alive(here.history_A[on_A], child_A[on_A], here.position_A[on_A] + 1)
            levels.append(here)
        return Alive(*(np.concatenate(columns) for columns in zip(*levels, strict=True)))


def _sorted_entries(vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids in trie order, the symbols they spell joined end to end, and how many each spells."""
    content = sorted((spelt, i) for i, spelt in enumerate(vocabulary.token_bytes) if spelt)
    empty = {i for i, spelt in enumerate(vocabulary.token_bytes) if spelt == b""}
    end, special = sorted(vocabulary.end), sorted((vocabulary.special | empty) - vocabulary.end)
    content_symbols = np.frombuffer(b"".join(spelt for spelt, _ in content), np.uint8)
    symbols = np.concatenate([content_symbols, [END] * len(end), [SPECIAL] * len(special)])
    lengths = [len(spelt) for spelt, _ in content] + [1] * (len(end) + len(special))
    ids = [i for _, i in content] + end + special
    return np.array(ids, np.int64), symbols.astype(np.int64), np.array(lengths, np.int64)
