"""What a window of a document holds of a supervised turn: the bytes that are read from it.

A window owns the trunk histories whose hidden states are new in it, and with them the tokens that
follow these, and the bytes from the first of them up to the first that a later window owns.
Histories of an earlier window may still be alive there, so a window's stretch begins at most one
longest token before its own bytes; what branches off earlier is not read, and not counted as lost.

Shapes: T tokens of a turn.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bld.scoring.forest import Stretch
from bld.scoring.prefixes import HistoryTree
from bld.tokenization.rendering import Turn
from bld.windows import Window


class Part(NamedTuple):
    """Rows [skip, skip + rows) of a stretch are symbols of a document, from `symbol` on.

    Its trunk histories [lead, lead + tokens) are followed by tokens of the document, from `token` on,
    the end token of a turn that has one included.
    """

    document: int
    symbol: int
    skip: int
    rows: int
    token: int
    lead: int
    tokens: int
    stretch: Stretch


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
    stretch = Stretch(
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
        stretch=stretch,
    )


def _between(tree: HistoryTree, trunk: int, first: int, last: int, stop: int) -> HistoryTree:
    """Trunk histories `first` to `last`, and what hangs from them and ends before byte `stop`."""
    hangs_R = tree.parent_R.copy()
    hangs_R[: trunk + 1] = np.arange(trunk + 1)
    while (hangs_R > trunk).any():
        hangs_R = np.where(hangs_R > trunk, hangs_R[hangs_R], hangs_R)
    kept = np.flatnonzero((first <= hangs_R) & (hangs_R <= last) & (tree.start_R < stop))
    number_R = np.full(len(hangs_R) + 1, -1)
    number_R[kept] = np.arange(len(kept))
    return HistoryTree(
        token_R=tree.token_R[kept],
        parent_R=number_R[tree.parent_R[kept]],
        start_R=tree.start_R[kept] - tree.start_R[first],
    )
