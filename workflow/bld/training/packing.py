"""Documents of a split, rendered; and which of their tokens stand in which row at which step: a
pure function of the seed.

Documents are cut to the row length, shuffled anew each epoch and packed several to a row. Inside
groups of neighbours in that order longer pieces are placed first, which fills rows to some 97 % and
costs no randomness that matters.
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
from bld.tokenization.rendering import Rendered, Renderer
from bld.windows import windows

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
    return ids, rendered


class Piece(NamedTuple):
    """Tokens [start, stop) of a document; those from `fresh` on are predicted in this piece."""

    document: int
    start: int
    stop: int
    fresh: int


Row = list[Piece]


class Places(NamedTuple):
    """Where the tokens of a text, or of a history beside it, stand in packed rows laid end to end;
    those before `own` are another's, which has their hidden states."""

    place_P: np.ndarray
    own: int


def pieces_of(lengths: Sequence[int], row_length: int) -> list[Piece]:
    """Documents of these lengths cut to pieces of at most `row_length` tokens.

    Pieces of one document share one token, so that every token but the first is predicted once.
    """
    return [
        Piece(document, start, stop, max(fresh, start + 1))
        for document, length in enumerate(lengths)
        for start, stop, fresh in windows(length, row_length, 1)
    ]


def supervised_positions(document: Rendered, piece: Piece) -> np.ndarray:
    """The tokens of a piece that are trained on."""
    supervised_T = document.symbol_T[piece.fresh : piece.stop] >= 0
    return piece.fresh + np.flatnonzero(supervised_T)


def supervised_symbols(document: Rendered, piece: Piece) -> tuple[int, int]:
    """The range of the document's symbols that the tokens of a piece are trained on."""
    token_S = supervised_positions(document, piece)
    if not len(token_S):
        return 0, 0
    last = token_S[-1]
    return int(document.symbol_T[token_S[0]]), int(document.symbol_T[last] + document.count_T[last])


def epoch_rows(pieces: Sequence[Piece], row_length: int, seed: int, epoch: int) -> list[Row]:
    """All pieces once, packed in rows of at most `row_length` tokens, in the order of this
    epoch."""
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(pieces))
    rows: list[Row] = []
    for first in range(0, len(order), GROUP):
        group = [pieces[i] for i in order[first : first + GROUP]]
        rows += _first_fit(sorted(group, key=lambda p: p.stop - p.start, reverse=True), row_length)
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
        length = piece.stop - piece.start
        fitting = (row for row, free in enumerate(room) if free >= length)
        row = next(fitting, len(rows))
        if row == len(rows):
            rows.append([])
            room.append(row_length)
        rows[row].append(piece)
        room[row] -= length
    return rows
