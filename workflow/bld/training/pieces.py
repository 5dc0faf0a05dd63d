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
from bld.documents.renderings import RenderedSplit
from bld.tokenization.rendered import RenderedTokens
from bld.training.packing import Piece, Pieces
from bld.windows import LongDocuments, windows


def pieces_of(documents: Sequence[RenderedTokens], row_length: int, overlap: float) -> Pieces:
    """The pieces of the documents in their order; none of those without a supervised token."""
    context = context_of_pieces(row_length, overlap)
    length_D, supervised_D = _sizes(documents)
    fits_D = length_D <= row_length
    whole = np.flatnonzero(fits_D & (supervised_D > 0))
    nothing = np.zeros_like(whole)
    whole_P5 = np.stack([whole, nothing, length_D[whole], nothing + 1, nothing], axis=1)
    cut = [
        piece
        for number in np.flatnonzero(~fits_D & (supervised_D > 0)).tolist()
        for piece in _pieces(number, documents[number], row_length, context)
    ]
    piece_P5 = np.concatenate([whole_P5, Pieces(cut).piece_P5])
    return Pieces(piece_P5[np.argsort(piece_P5[:, 0], kind="stable")])


def _sizes(documents: Sequence[RenderedTokens]) -> tuple[np.ndarray, np.ndarray]:
    """Of every document its tokens, and those of them that are supervised."""
    if isinstance(documents, RenderedSplit):
        return documents.sizes("tokens"), documents.sizes("supervised")
    sizes = [(len(one), int((one.symbol_T >= 0).sum())) for one in documents]
    length_D, supervised_D = np.array(sizes, np.int64).reshape(-1, 2).T
    return length_D, supervised_D


def context_of_pieces(row_length: int, overlap: float) -> int:
    """The tokens before what a piece predicts, at least; a token that sees none is not
    predicted."""
    return max(1, int(row_length * overlap))


def _pieces(
    number: int, document: RenderedTokens, row_length: int, context: int
) -> Iterator[Piece]:
    """Those of a document that is longer than a row."""
    answers, is_begun = _supervised(document), False
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


def _supervised(document: RenderedTokens) -> list[tuple[int, int]]:
    """The stretches [first, stop) of tokens that are trained on."""
    is_supervised = np.r_[False, document.symbol_T >= 0, False]
    edges = np.flatnonzero(is_supervised[1:] != is_supervised[:-1]).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def is_first(document: RenderedTokens, piece: Piece) -> bool:
    """Whether no piece of its document predicts anything before this one."""
    return not (document.symbol_T[: piece.fresh] >= 0).any()


def evaluated_pieces(documents: Sequence[RenderedTokens], window: int) -> Pieces:
    """As `pieces_of`, cut as evaluations cut them: windows that overlap by half, each of which
    predicts the token after it too."""
    return Pieces(
        Piece(number, start, min(stop + 1, len(document)), fresh + 1, int(stop < len(document)))
        for number, document in enumerate(documents)
        for start, stop, fresh in windows(len(document), window, window // 2)
        if (document.symbol_T[fresh + 1 : stop + 1] >= 0).any()
    )


def pieces_to_train(
    documents: Sequence[RenderedTokens], settings: Training
) -> tuple[Pieces, LongDocuments]:
    """The pieces of a training, and what became of documents that are longer than its rows.

    Raises ValueError if there are any and `settings.long_documents` says to stop.
    """
    row_length, how = settings.sequence_length, settings.long_documents
    pieces, (length_D, _) = pieces_of(documents, row_length, settings.overlap), _sizes(documents)
    taught = np.unique(pieces.field("document"))
    long = taught[length_D[taught] > row_length]
    if len(long) and how == "stop":
        longest = int(long[length_D[long].argmax()])
        raise ValueError(
            f"{len(long):,} of {len(taught):,} documents are longer than a row of {row_length:,} "
            f"tokens (`training.sequence_length`), {documents[longest].name} the longest with "
            f"{length_D[longest]:,}; make rows longer, or say under "
            "`training.long_documents` to cut or to drop such documents"
        )
    is_cut_P = length_D[pieces.field("document")] > row_length
    if how == "drop":
        pieces, is_cut_P = pieces.where(~is_cut_P), np.zeros(int((~is_cut_P).sum()), bool)
    cut = pieces.where(is_cut_P)
    document_P = cut.field("document")
    # How far each of them begins behind the end of the one before.
    is_first_P = np.diff(document_P, prepend=-1) != 0
    gap_P = cut.field("start") - np.where(is_first_P, 0, np.roll(cut.field("stop"), 1))
    of_each = map(Pieces, np.split(cut.piece_P5, np.flatnonzero(is_first_P)[1:]))
    return pieces, LongDocuments(
        row_length=row_length,
        context=context_of_pieces(row_length, settings.overlap),
        documents=len(taught),
        long=len(long),
        dropped=len(long) if how == "drop" else 0,
        pieces=len(cut),
        answers=sum(_answers_begun(documents[ps[0].document], ps) for ps in of_each if ps),
        tokens=int(pieces.width_P.sum()),
        repeated=-int(gap_P[gap_P < 0].sum()),
        unread=int(gap_P[gap_P > 0].sum()),
    )


def _answers_begun(document: RenderedTokens, pieces: Pieces) -> int:
    """How many answers begin in pieces of a document that do not begin with it."""
    firsts = [first for first, _ in _supervised(document)]
    later = pieces.where(pieces.field("start") > 0)
    begun_P = np.searchsorted(firsts, [later.field("fresh"), later.field("stop")])
    return int(np.diff(begun_P, axis=0).sum())
