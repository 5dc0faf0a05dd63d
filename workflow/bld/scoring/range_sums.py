"""Sums over ranges of the sorted vocabulary, which is all that a trie needs of a model's probabilities.

They are taken range by range, never as differences of running sums, which would lose small ranges
beside large ones.

Shapes: B rows, I sorted tokens, E edges of the root, A (row, node) pairs, P (pair, edge) pairs.
"""

from __future__ import annotations

import numpy as np
import torch

from bld.arrays import ragged_range
from bld.scoring.trie import Trie


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
