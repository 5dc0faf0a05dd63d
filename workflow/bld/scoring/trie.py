"""The vocabulary as a byte trie whose nodes are ranges, so that histories walk it together.

Sort a vocabulary by what its entries spell and every prefix owns a contiguous range of the sorted
order. A trie node is such a range, "the probability of the tokens that go on with byte b" is a sum
over one, and nothing else of a trie is needed. Nodes are numbered breadth first with siblings in
symbol order, hence edge e leads to node e + 1.

END and SPECIAL (see `tokenization.symbols`) are two more leaves below the root: an end token spells
the one symbol END. Bytes alone never lead there.

Sums of a model's probabilities are taken range by range, never as differences of running sums,
which would lose small ranges beside large ones.

Shapes: I sorted tokens, M nodes, E edges (E = M - 1), R histories, N bytes of a text, A walkers or
(history, byte) pairs; of sums: B rows, E edges of the root, A (row, node) pairs, P (pair, edge)
pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from bld.arrays import ragged_range
from bld.symbols import END, SPECIAL, TRIE_SYMBOLS
from bld.tokenization.vocabulary import Vocabulary


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

    def walk_inside(self, text: bytes, start_R: np.ndarray, stop_R: np.ndarray) -> Alive:
        """As `walk`, without the starts, and sorted by history."""
        alive = self.walk(text, start_R, stop_R)
        order = np.argsort(alive.history_A, kind="stable")
        order = order[alive.node_A[order] > 0]
        return Alive(*(column[order] for column in alive))


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


def tiled_sums(values_BI: torch.Tensor, lo_E: np.ndarray) -> torch.Tensor:
    """Sums [B, E] of every row over the ranges that begin at lo_E and tile it."""
    if values_BI.device.type == "cpu":
        return torch.from_numpy(np.add.reduceat(values_BI.numpy(), lo_E, axis=1))
    length_E = torch.from_numpy(np.diff(lo_E, append=values_BI.shape[1])).to(values_BI.device)
    lengths = length_E.expand(len(values_BI), -1).contiguous()
    return torch.segment_reduce(values_BI, "sum", lengths=lengths, axis=1, unsafe=True)


class Ranges:
    """The ranges of the edges of nodes, in rows of values that are `size` long.

    For every (pair, edge): `pair_P` and `symbol_P`, and where its range begins and ends in the rows
    laid end to end, `lo_P` and `hi_P`.
    """

    def __init__(self, trie: Trie, size: int, row_A: np.ndarray, node_A: np.ndarray) -> None:
        # reduceat sums from each index up to the next; where the next is not larger it takes a
        # single element. Each pair's edges are followed by a stop and pairs go by falling start, so
        # that what lies between two pairs is never summed.
        order = np.argsort(-(row_A * size + trie.exact_hi_M[node_A]), kind="stable")
        node = node_A[order]
        owner, edge = ragged_range(trie.first_edge_M1[node], trie.first_edge_M1[node + 1] + 1)
        is_stop = edge == trie.first_edge_M1[node + 1][owner]
        child = np.where(is_stop, 0, edge + 1)
        self._bound = np.where(is_stop, trie.hi_M[node[owner]], trie.lo_M[child])
        self._bound += row_A[order[owner]] * size
        self._is_edge = ~is_stop
        self.pair_P = order[owner[self._is_edge]]
        self.symbol_P = trie.edge_symbol_E[edge[self._is_edge]]
        self.lo_P = self._bound[self._is_edge]
        self.hi_P = np.append(self._bound, 0)[1:][self._is_edge]

    def sums(self, values: torch.Tensor) -> torch.Tensor:
        """The sums [P] of the values over the ranges."""
        values = values.view(-1)
        if values.device.type == "cpu":
            # reduceat takes no index past the end: ranges that end there lack their last value.
            last = len(values) - 1
            sums = np.add.reduceat(values.numpy(), np.minimum(self._bound, last))[self._is_edge]
            sums[(self.hi_P > last) & (self.lo_P < last)] += values[last].item()
            return torch.from_numpy(sums)
        _, index = ragged_range(self.lo_P, self.hi_P)
        taken = values[torch.from_numpy(index).to(values.device)]
        lengths = torch.from_numpy(self.hi_P - self.lo_P).to(values.device)
        return torch.segment_reduce(taken, "sum", lengths=lengths, unsafe=True)
