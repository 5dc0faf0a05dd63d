"""Documents of a split, rendered; and which of their tokens stand in which row at which step: a
pure function of the seed.

Documents, or pieces of those that are longer than a row (see `pieces`), are shuffled anew each
epoch and packed several to a row. Inside groups of neighbours in that order longer pieces are
placed first, which fills rows to some 97 % and costs no randomness that matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bld.documents.shards import read_split
from bld.files import read_manifest
from bld.progress import progress
from bld.tokenization.rendered import Rendered
from bld.tokenization.rendering import Renderer

GROUP = 256


def render_split(
    manifest: Path, renderer: Renderer, at_most: int | None = None
) -> tuple[list[str], list[Rendered]]:
    """Ids and rendered documents of the split with this manifest, the first `at_most` of them."""
    for note in renderer.notes:
        print(f"tokenizer: {note}")
    total = read_manifest(manifest)["documents"]
    ids, rendered = [], []
    stream = islice(read_split(manifest.parent), at_most)
    count = min(total, at_most) if at_most else total
    for document in progress("render", count, "documents", iterable=stream):
        ids.append(document.id)
        rendered.append(renderer.render(document.segments, f"document {document.id}"))
    for note in renderer.told():
        print(f"{manifest.parent.name}: {note}")
    return ids, rendered


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


class Places(NamedTuple):
    """Where the tokens of a text, or of a history beside it, stand in packed rows laid end to end;
    those before `own` are another's, which has their hidden states."""

    place_P: np.ndarray
    own: int


def supervised_positions(document: Rendered, piece: Piece) -> np.ndarray:
    """The tokens of a piece that are trained on."""
    supervised_T = document.symbol_T[piece.fresh : piece.stop] >= 0
    return piece.fresh + np.flatnonzero(supervised_T)


def supervised_symbols(document: Rendered, piece: Piece) -> tuple[int, int]:
    """The range of the document's symbols that the tokens of a piece are trained on; those that
    spell none stand at one as well."""
    token_S = supervised_positions(document, piece)
    if not len(token_S):
        return 0, 0
    last, count = document.symbol_T[token_S[-1]], document.count_T[token_S[-1]]
    return int(document.symbol_T[token_S[0]]), int(last + max(count, 1))


def epoch_rows(pieces: Sequence[Piece], row_length: int, seed: int, epoch: int) -> list[Row]:
    """All pieces once, packed in rows of at most `row_length` tokens, in the order of this
    epoch."""
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(pieces))
    rows: list[Row] = []
    for first in range(0, len(order), GROUP):
        group = [pieces[i] for i in order[first : first + GROUP]]
        rows += _first_fit(sorted(group, key=lambda p: p.width, reverse=True), row_length)
    return [rows[i] for i in random.permutation(len(rows))]


def step_rows(
    pieces: Sequence[Piece], row_length: int, seed: int, rows_per_step: int
) -> Iterator[list[Row]]:
    """The rows of one step after another, without end; epochs follow each other without a gap."""
    waiting: list[Row] = []
    epoch = 0
    while True:
        while len(waiting) < rows_per_step:
            waiting += epoch_rows(pieces, row_length, seed, epoch)
            epoch += 1
        yield waiting[:rows_per_step]
        waiting = waiting[rows_per_step:]


def _first_fit(group: Sequence[Piece], row_length: int) -> list[Row]:
    rows: list[Row] = []
    room: list[int] = []
    for piece in group:
        fitting = (row for row, free in enumerate(room) if free >= piece.width)
        row = next(fitting, len(rows))
        if row == len(rows):
            rows.append([])
            room.append(row_length)
        rows[row].append(piece)
        room[row] -= piece.width
    return rows
