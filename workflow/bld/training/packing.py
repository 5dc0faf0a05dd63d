"""Which tokens of documents stand in which row at which step: a pure function of the seed.

Documents, or pieces of those that are longer than a row (see `pieces`), are shuffled anew each
epoch and packed several to a row. Inside groups of neighbours in that order longer pieces are
placed first, which fills rows to some 97 % and costs no randomness that matters. Of an epoch only
the numbers of pieces are kept; its rows are made as they are asked for.

Shape letters: P pieces, R rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from typing import NamedTuple

import numpy as np

from bld.arrays import Lazy
from bld.tokenization.rendered import RenderedTokens

GROUP = 256


class Piece(NamedTuple):
    """Tokens [start, stop) of a document; those from `fresh` on are predicted in this piece. The
    last `unread` ones (0 or 1) do not stand in its row, where they would predict nothing."""

    document: int
    start: int
    stop: int
    fresh: int
    unread: int = 0

    @property
    def width(self) -> int:
        """The tokens that it takes up in a row."""
        return self.stop - self.unread - self.start


Row = list[Piece]


class Pieces(Lazy[Piece]):
    """Pieces, as the columns of an array."""

    def __init__(self, pieces: Iterable[Sequence[int]] | np.ndarray) -> None:
        listed = pieces if isinstance(pieces, np.ndarray) else [*pieces]
        self.piece_P5 = np.asarray(listed, np.int32).reshape(-1, len(Piece._fields))
        super().__init__(len(self.piece_P5), self._piece)

    def _piece(self, number: int) -> Piece:
        return Piece(*self.piece_P5[number].tolist())

    def where(self, chosen_P: np.ndarray) -> Pieces:
        """Those that are chosen."""
        return Pieces(self.piece_P5[chosen_P])

    def field(self, name: str) -> np.ndarray:
        """A field of all pieces, [P]."""
        return self.piece_P5[:, Piece._fields.index(name)]

    @property
    def width_P(self) -> np.ndarray:
        """The width of all pieces."""
        width_P: np.ndarray = self.field("stop") - self.field("unread") - self.field("start")
        return width_P


class Places(NamedTuple):
    """Where the tokens of a text, or of a history beside it, stand in packed rows laid end to end;
    those before `own` are another's, which has their hidden states."""

    place_P: np.ndarray
    own: int


def supervised_positions(document: RenderedTokens, piece: Piece) -> np.ndarray:
    """The tokens of a piece that are trained on."""
    supervised_T = document.symbol_T[piece.fresh : piece.stop] >= 0
    return piece.fresh + np.flatnonzero(supervised_T)


def supervised_symbols(document: RenderedTokens, piece: Piece) -> tuple[int, int]:
    """The range of the document's symbols that the tokens of a piece are trained on; those that
    spell none stand at one as well."""
    token_S = supervised_positions(document, piece)
    if not len(token_S):
        return 0, 0
    last, count = document.symbol_T[token_S[-1]], document.count_T[token_S[-1]]
    return int(document.symbol_T[token_S[0]]), int(last + max(count, 1))


def epoch_rows(pieces: Pieces, row_length: int, seed: int, epoch: int) -> Sequence[Row]:
    """All pieces once, packed in rows of at most `row_length` tokens, in the order of this
    epoch."""
    random = np.random.default_rng([seed, epoch])
    width_P, order_P = pieces.width_P, random.permutation(len(pieces))
    sizes: list[np.ndarray] = [np.zeros(1, np.int64)]
    for first in range(0, len(order_P), GROUP):
        group = order_P[first : first + GROUP]
        longest_first = group[np.argsort(-width_P[group], kind="stable")]
        row = np.array(_first_fit(width_P[longest_first].tolist(), row_length))
        order_P[first : first + GROUP] = longest_first[np.argsort(row, kind="stable")]
        sizes.append(np.bincount(row))
    begins = np.cumsum(np.concatenate(sizes))
    row_R = random.permutation(len(begins) - 1)

    def row_at(place: int) -> Row:
        begin, end = begins[row_R[place] : row_R[place] + 2]
        return [pieces[i] for i in order_P[begin:end]]

    return Lazy(len(row_R), row_at)


def step_rows(
    pieces: Pieces, row_length: int, seed: int, rows_per_step: int
) -> Iterator[list[Row]]:
    """The rows of one step after another, without end; epochs follow each other without a gap."""
    rows = (row for epoch in count() for row in epoch_rows(pieces, row_length, seed, epoch))
    while True:
        yield list(islice(rows, rows_per_step))


def _first_fit(widths: Sequence[int], row_length: int) -> list[int]:
    """The row that each piece is put into: the first that has room."""
    room: list[int] = []
    chosen: list[int] = []
    for width in widths:
        fitting = (row for row, free in enumerate(room) if free >= width)
        row = next(fitting, len(room))
        if row == len(room):
            room.append(row_length)
        room[row] -= width
        chosen.append(row)
    return chosen
