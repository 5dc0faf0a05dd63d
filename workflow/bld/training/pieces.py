"""What of each document stands in one row: all of it, or a piece of one that is longer than a row.

What a piece predicts has text before it in the same row: at least `overlap` of a row, or all that
there is. An answer that fits behind so much is whole in one piece, behind as much as the row holds;
a longer one, like a long text, goes on from piece to piece. Of the text before an answer the
beginning is left out, never the end; and every supervised token is predicted once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bld.config.settings import Training
from bld.tokenization.rendered import Rendered
from bld.training.packing import Piece
from bld.windows import LongDocuments, windows


def pieces_of(documents: Sequence[Rendered], row_length: int, overlap: float) -> list[Piece]:
    """The pieces of the documents in their order; none of those without a supervised token."""
    context = context_of_pieces(row_length, overlap)
    return [
        piece
        for number, document in enumerate(documents)
        for piece in _pieces(number, document, row_length, context)
    ]


def context_of_pieces(row_length: int, overlap: float) -> int:
    """The tokens before what a piece predicts, at least; a token that sees none is not
    predicted."""
    return max(1, int(row_length * overlap))


def _pieces(number: int, document: Rendered, row_length: int, context: int) -> Iterator[Piece]:
    answers, is_begun = _supervised(document), False
    if answers and len(document) <= row_length:
        yield Piece(number, 0, len(document), 1)
        return
    while answers:
        fresh, last = answers[0]
        start = max(0, fresh - context)
        whole = sum(stop <= start + row_length for _, stop in answers)
        stop = answers[whole - 1][1] if whole else start + row_length
        if whole and not is_begun:
            start = max(0, stop - row_length)
        yield Piece(number, start, stop, fresh)
        answers = answers[whole:] if whole else [(stop, last), *answers[1:]]
        is_begun = not whole


def _supervised(document: Rendered) -> list[tuple[int, int]]:
    """The stretches [first, stop) of tokens that are trained on."""
    is_supervised = np.r_[False, document.symbol_T >= 0, False]
    edges = np.flatnonzero(is_supervised[1:] != is_supervised[:-1]).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def is_first(document: Rendered, piece: Piece) -> bool:
    """Whether no piece of its document predicts anything before this one."""
    return not (document.symbol_T[: piece.fresh] >= 0).any()


def evaluated_pieces(documents: Sequence[Rendered], window: int) -> list[Piece]:
    """As `pieces_of`, cut as evaluations cut them: windows that overlap by half, each of which
    predicts the token after it too."""
    return [
        Piece(number, start, min(stop + 1, len(document)), fresh + 1, int(stop < len(document)))
        for number, document in enumerate(documents)
        for start, stop, fresh in windows(len(document), window, window // 2)
        if (document.symbol_T[fresh + 1 : stop + 1] >= 0).any()
    ]


def pieces_to_train(
    documents: Sequence[Rendered], settings: Training
) -> tuple[list[Piece], LongDocuments]:
    """The pieces of a training, and what became of documents that are longer than its rows.

    Raises ValueError if there are any and `settings.long_documents` says to stop.
    """
    row_length, how = settings.sequence_length, settings.long_documents
    pieces = pieces_of(documents, row_length, settings.overlap)
    taught = {piece.document for piece in pieces}
    long = {number for number in taught if len(documents[number]) > row_length}
    if long and how == "stop":
        longest = max(sorted(long), key=lambda number: len(documents[number]))
        raise ValueError(
            f"{len(long):,} of {len(taught):,} documents are longer than a row of {row_length:,} "
            f"tokens (`training.sequence_length`), {documents[longest].name} the longest with "
            f"{len(documents[longest]):,}; make rows longer, or say under "
            "`training.long_documents` to cut or to drop such documents"
        )
    if how == "drop":
        pieces = [piece for piece in pieces if piece.document not in long]
    cut = [piece for piece in pieces if piece.document in long]
    # How far each of them begins behind the end of the one before.
    gaps = [
        piece.start - (before.stop if before.document == piece.document else 0)
        for before, piece in zip([Piece(-1, 0, 0, 0), *cut], cut, strict=False)
    ]
    return pieces, LongDocuments(
        row_length=row_length,
        context=context_of_pieces(row_length, settings.overlap),
        documents=len(taught),
        long=len(long),
        dropped=len(long) if how == "drop" else 0,
        pieces=len(cut),
        answers=sum(_answers_begun(documents[piece.document], piece) for piece in cut),
        tokens=sum(piece.width for piece in pieces),
        repeated=-sum(gap for gap in gaps if gap < 0),
        unread=sum(gap for gap in gaps if gap > 0),
    )


def _answers_begun(document: Rendered, piece: Piece) -> int:
    """How many answers begin in a piece that does not begin with their document."""
    firsts = [first for first, _ in _supervised(document)] if piece.start else []
    return sum(piece.fresh <= first < piece.stop for first in firsts)
