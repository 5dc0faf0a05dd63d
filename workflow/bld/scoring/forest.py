"""The histories of many texts as one table, so that they are walked, packed and summed together.

A text here is a *stretch*: the bytes of a supervised turn, or of the part of one that a window of a
long document holds. Its trunk is the canonical encoding; every other history branches off it. Rows
of all results are the bytes of all stretches, end to end, each stretch with one row more for its
end.

Shapes: R histories (nodes), N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bld.scoring.prefixes import HistoryTree


class Stretch(NamedTuple):
    """Bytes of one sequence of tokens that the model reads, and histories that tell about them.

    `tree`: trunk nodes come first; node 0 is the history at byte 0 of `text`. The hidden state
    after it stands at `column` of sequence `sequence`; those of the other trunk nodes follow it.
    """

    text: bytes
    tree: HistoryTree
    trunk: int
    sequence: int
    column: int


class Forest:
    """All histories of all stretches; nodes below `trunk` are trunk nodes, in order.

    `token_R`, `parent_R`, `start_R` (a row): as in `HistoryTree`. `stop_R`: the row of the end of
    its stretch. `sequence_R`, `column_R`: where a trunk node's hidden state stands; for any other
    node, where that of the trunk node stands that it hangs from. `depth_R`: its position in its
    sequence.
    """

    def __init__(self, stretches: Sequence[Stretch]) -> None:
        self.text = b"".join(stretch.text + b"\0" for stretch in stretches)
        first_row = _before([len(stretch.text) + 1 for stretch in stretches])
        first_trunk = _before([stretch.trunk for stretch in stretches])
        self.trunk = sum(stretch.trunk for stretch in stretches)
        first_side = self.trunk + _before([len(s.tree.token_R) - s.trunk for s in stretches])
        trunks, sides = [], []
        for number, stretch in enumerate(stretches):
            tree, trunk, size = stretch.tree, stretch.trunk, len(stretch.tree.token_R)
            parent = tree.parent_R + np.where(
                tree.parent_R < trunk, first_trunk[number], first_side[number] - trunk
            )
            columns = np.stack(
                [
                    tree.token_R,
                    np.where(tree.parent_R < 0, -1, parent),
                    tree.start_R + first_row[number],
                    np.full(size, first_row[number] + len(stretch.text)),
                    np.full(size, stretch.sequence),
                    stretch.column + np.arange(size),
                ]
            )
            trunks.append(columns[:, :trunk])
            sides.append(columns[:, trunk:])
        self._take(np.concatenate(trunks + sides, axis=1))
        self.depth_R = self.column_R.copy()
        self._hang(np.arange(self.trunk, len(self)))

    def _take(self, columns: np.ndarray) -> None:
        self.token_R, self.parent_R, self.start_R = columns[:3]
        self.stop_R, self.sequence_R, self.column_R = columns[3:]

    def __len__(self) -> int:
        return len(self.token_R)

    def grow(self, parent: np.ndarray, token: np.ndarray, start: np.ndarray) -> None:
        """Add histories: one more token each, ending at row `start`, after nodes already here."""
        parents = np.stack([self.stop_R, self.sequence_R, self.column_R])[:, parent]
        table = [self.token_R, self.parent_R, self.start_R]
        table += [self.stop_R, self.sequence_R, self.column_R]
        new = np.concatenate([np.stack([token, parent, start]), parents])
        self._take(np.concatenate([np.stack(table), new], axis=1))
        self.depth_R = np.concatenate([self.depth_R, self.depth_R[parent] + 1])

    def _hang(self, side: np.ndarray) -> None:
        """Depths and columns of side nodes, generation by generation."""
        known = np.arange(len(self)) < self.trunk
        while side.size:
            ready = known[self.parent_R[side]]
            node, side = side[ready], side[~ready]
            self.depth_R[node] = self.depth_R[self.parent_R[node]] + 1
            self.column_R[node] = self.column_R[self.parent_R[node]]
            known[node] = True


def _before(sizes: Sequence[int]) -> np.ndarray:
    """The sum of all sizes before each."""
    return np.cumsum([0, *sizes])[:-1]


def trunk_tree(trunk: Sequence[int], token_bytes: Sequence[bytes | None]) -> HistoryTree:
    """The histories of a trunk alone."""
    lengths = [len(token_bytes[token] or b"") for token in trunk]
    return HistoryTree(
        token_R=np.array([-1, *trunk], np.int64),
        parent_R=np.arange(-1, len(trunk)),
        start_R=np.cumsum([0, *lengths]),
    )
