"""The histories of many texts as one table, so that they are walked, packed and summed together.

A text here is a *span*: the bytes of a supervised turn, or of the part of one that a window of a
long document holds. Its trunk is the canonical tokenization; every other history branches off it.
Rows of all results are the bytes of all spans, end to end, each span with one row more for its end.

A window owns the trunk histories whose hidden states are new in it, and with them the tokens that
follow these, and the bytes from the first of them up to the first that a later window owns.
Histories of an earlier window may still be alive there, so a window's span begins at most one
longest token before its own bytes; what branches off earlier is not read, and not counted as lost.

Shapes: R histories (nodes), N rows, T tokens of a turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bld.scoring.prefixes import HistoryTree
from bld.tokenization.rendered import Turn
from bld.windows import Window


class Span(NamedTuple):
    """Bytes of one sequence of tokens that the model reads, and histories that predict them.

    `tree`: trunk nodes come first; node 0 is the history at byte 0 of `text`. The hidden state
    after it stands at `column` of sequence `sequence`; those of the other trunk nodes follow it.
    """

    text: bytes
    tree: HistoryTree
    trunk: int
    sequence: int
    column: int


class HistoryBatch:
    """All histories of all spans; nodes below `trunk` are trunk nodes, in order.

    `token_R`, `parent_R`, `start_R` (a row): as in `HistoryTree`. `stop_R`: the row of the end of
    its span. `sequence_R`, `column_R`: where a trunk node's hidden state stands; for any other
    node, where that of the trunk node stands from which it branches off. `depth_R`: its position in
    its sequence.
    """

    def __init__(self, spans: Sequence[Span]) -> None:
        self.text = b"".join(span.text + b"\0" for span in spans)
        first_row = _before([len(span.text) + 1 for span in spans])
        first_trunk = _before([span.trunk for span in spans])
        self.trunk = sum(span.trunk for span in spans)
        first_side = self.trunk + _before([len(s.tree.token_R) - s.trunk for s in spans])
        trunks, sides = [], []
        for number, span in enumerate(spans):
            tree, trunk, size = span.tree, span.trunk, len(span.tree.token_R)
            parent = tree.parent_R + np.where(
                tree.parent_R < trunk, first_trunk[number], first_side[number] - trunk
            )
            columns = np.stack(
                [
                    tree.token_R,
                    np.where(tree.parent_R < 0, -1, parent),
                    tree.start_R + first_row[number],
                    np.full(size, first_row[number] + len(span.text)),
                    np.full(size, span.sequence),
                    span.column + np.arange(size),
                ]
            )
            trunks.append(columns[:, :trunk])
            sides.append(columns[:, trunk:])
        self._take(np.concatenate(trunks + sides, axis=1))
        self.depth_R = self.column_R.copy()
        self._attach(np.arange(self.trunk, len(self)))

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

    def _attach(self, side: np.ndarray) -> None:
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


class Part(NamedTuple):
    """Rows [skip, skip + rows) of a span are symbols of a document, from `symbol` on.

    Its trunk histories [lead, lead + tokens) are followed by tokens of the document, from `token`
    on, the end token of a turn that has one included.
    """

    document: int
    symbol: int
    skip: int
    rows: int
    token: int
    lead: int
    tokens: int
    span: Span


def part_of(
    turn: Turn, tree: HistoryTree, window: Window, document: int, sequence: int, longest: int
) -> Part | None:
    """The part of a turn that a window owns, read as sequence number `sequence` of its batch.

    `tree` holds the turn's histories and `longest` is the length of the longest token in bytes.
    """
    trunk = turn.last - turn.first
    before = turn.first - 1  # where the hidden state after the empty history stands
    first = max(window.fresh - before, 0)
    last = min(window.stop - 1 - before, trunk)
    if last < first:
        return None
    start_T1 = tree.start_R[: trunk + 1]
    lead = int(np.searchsorted(start_T1, start_T1[first] - longest))
    lead = max(lead, window.start - before, 0)
    ends = last == trunk
    stop = len(turn.text) if ends else int(start_T1[last + 1])
    begin, own = int(start_T1[lead]), int(start_T1[first])
    span = Span(
        text=turn.text[begin:stop],
        tree=_between(tree, trunk, lead, last, stop + ends),
        trunk=last + 1 - lead,
        sequence=sequence,
        column=before + lead - window.start,
    )
    return Part(
        document,
        symbol=turn.symbol + own,
        skip=own - begin,
        rows=stop + ends - own,
        token=turn.first + first,
        lead=first - lead,
        tokens=last + 1 - first - (ends and not turn.ends),
        span=span,
    )


def _between(tree: HistoryTree, trunk: int, first: int, last: int, stop: int) -> HistoryTree:
    """Trunk histories `first` to `last`, and the histories that branch off them and end before byte
    `stop`."""
    branch_R = tree.parent_R.copy()
    branch_R[: trunk + 1] = np.arange(trunk + 1)
    while (branch_R > trunk).any():
        branch_R = np.where(branch_R > trunk, branch_R[branch_R], branch_R)
    kept = np.flatnonzero((first <= branch_R) & (branch_R <= last) & (tree.start_R < stop))
    number_R = np.full(len(branch_R) + 1, -1)
    number_R[kept] = np.arange(len(kept))
    return HistoryTree(
        token_R=tree.token_R[kept],
        parent_R=number_R[tree.parent_R[kept]],
        start_R=tree.start_R[kept] - tree.start_R[first],
    )
