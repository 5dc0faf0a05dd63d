"""Rendered documents and what the teacher says of them as tensors for one forward pass.

Shape letters: B rows, T positions in a row, S supervised tokens of the batch, N supervised symbols
of its documents, U teacher tokens, K kept symbols or tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from transformers import PreTrainedModel

from bld.arrays import ragged_range
from bld.attention import masks_of
from bld.cache.top_k import Signal
from bld.models import Masks
from bld.scoring.token_scores import TokenScores, joined
from bld.symbols import SYMBOLS
from bld.tokenization.rendered import RenderedTokens
from bld.training.packing import Piece, Places, Row, supervised_positions, supervised_symbols

if TYPE_CHECKING:  # so that trainings without histories are not rerun for their code
    from bld.training.histories import Histories, RowHistories

BOOLEAN = {"blank_N", "is_student_written_N"}
WHITESPACE = np.isin(np.arange(SYMBOLS), list(b" \t\n\r\v\f"))

TeacherTokens = TokenScores[torch.Tensor]
"""The teacher's scores at the U tokens of its own encoding of a batch's texts, int64 and float32;
`symbol_U` counts in the symbols of the batch. A token stands here if all its symbols lie inside the
range that is supervised in the same piece."""


class Signals(Protocol):
    """What the teacher says of documents, by their numbers among the training documents; see
    `cache.reading.CachedSignals` and `cache.live.LiveSignals`."""

    def read(self, documents: Sequence[int]) -> list[Signal]:
        """Of each document its byte distributions and, of all or of none, its tokens."""
        ...


@dataclass
class Batch:
    """One micro batch.

    `piece_BT` numbers the piece that a position belongs to (-1 for padding): attention stays inside
    a piece. `source_S` is the flat position (row * T + column) whose hidden state predicts
    supervised token `target_S`; that token spells `count_S` symbols from `symbol_S` on in
    `symbols_N`, of which `blank_N` belong to tokens of whitespace alone. `has_unspelt`: whether
    some tokens of the documents, not of this batch alone, are trained on and spell no symbol (the
    text that a template writes before an end token, and that token); so processes are at one.

    `token_normaliser` and `byte_normaliser` are what sums over tokens and over bytes are divided
    by, so that the mean over processes and accumulated batches is the mean over the whole step;
    `step_tokens` counts the supervised tokens of that step, over all its batches and processes.

    `histories`: what tokens are summed over, for students whose tokens are summed to bytes; those
    beside the text stand behind it in its row. `teacher_tokens` is None where the teacher's signals
    are of bytes alone, `is_student_written_N` (which symbols the student itself has written, see
    `on_policy`) where it has written none.
    """

    ids_BT: torch.Tensor
    positions_BT: torch.Tensor
    piece_BT: torch.Tensor
    source_S: torch.Tensor
    target_S: torch.Tensor
    symbol_S: torch.Tensor
    count_S: torch.Tensor
    symbols_N: torch.Tensor
    blank_N: torch.Tensor
    teacher_symbols_NK: torch.Tensor
    teacher_log_probs_NK: torch.Tensor
    teacher_log_tail_N: torch.Tensor
    token_normaliser: float
    byte_normaliser: float
    step_tokens: int = 0
    histories: RowHistories | None = None
    teacher_tokens: TeacherTokens | None = None
    is_student_written_N: torch.Tensor | None = None
    has_unspelt: bool = False

    def from_corpus(self, column_S: torch.Tensor) -> torch.Tensor:
        """The entries of a column [S] at tokens of the corpus, not of the student's own text: those
        that cross-entropies are taken of."""
        if self.is_student_written_N is None:
            return column_S
        return column_S[~self.is_student_written_N[self.symbol_S]]

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        moved |= {k: v.to(device) for k, v in moved.items() if isinstance(v, torch.Tensor)}
        if self.teacher_tokens is not None:
            moved["teacher_tokens"] = self.teacher_tokens.map(lambda column: column.to(device))
        return Batch(**moved)

    def masks(self, lm: PreTrainedModel) -> Masks:
        """What keeps every position of the packed rows to its own document and, beside the text, to
        its own history."""
        same_BTT = self.piece_BT[:, :, None] == self.piece_BT[:, None, :]
        allowed_BTT = same_BTT.tril()
        if self.histories is not None:
            self.histories.restrict(allowed_BTT, self.positions_BT)
        return masks_of(lm, allowed_BTT, self.positions_BT, self.positions_BT)

    def paths(self) -> list[Places]:
        """The documents, and the histories beside them, each in a row of its own. Every position
        that holds a token is its path's own in just one of them."""
        rows, columns = self.piece_BT.shape
        width = columns - (self.histories.side_columns if self.histories else 0)
        piece_BT = self.piece_BT[:, :width].cpu().numpy()
        place_BT = np.arange(rows * columns).reshape(rows, columns)[:, :width]
        texts = {
            (row, order): place_BT[row, piece_BT[row] == order]
            for row in range(rows)
            for order in range(piece_BT[row].max(initial=-1) + 1)
        }
        paths = [Places(place_P, 0) for place_P in texts.values()]
        return paths + (self.histories.paths(texts) if self.histories else [])


class Batches:
    """Documents, what their teacher says of them, and the histories that a student is summed over:
    everything that batches are made of. Documents from number `first_written` on are the
    student's. `has_unspelt`: see `Batch`; by default looked for in the documents."""

    def __init__(
        self,
        documents: Sequence[RenderedTokens],
        signals: Signals | None = None,
        histories: Histories | None = None,
        first_written: int | None = None,
        has_unspelt: bool | None = None,
    ) -> None:
        self.documents, self.signals, self.histories = documents, signals, histories
        self._first_written = first_written
        if has_unspelt is None:
            has_unspelt = any(document.is_unspelt_T.any() for document in documents)
        self.has_unspelt = has_unspelt

    def step(
        self,
        rows: Sequence[Row],
        micro_batch_size: int,
        rank: int,
        world_size: int,
        step: int = 0,
    ) -> Iterator[Batch]:
        """This process's micro batches of one optimiser step, given the rows of all processes. The
        number of the step counts where documents are written anew (`on_policy.OnPolicy`)."""
        own = rows[rank::world_size]
        batches = len(rows) / micro_batch_size
        return self.micro_batches(own, micro_batch_size, sizes(self.documents, rows), batches)

    def micro_batches(
        self,
        rows: Sequence[Row],
        micro_batch_size: int,
        step_sizes: tuple[int, int],
        batches: float,
    ) -> Iterator[Batch]:
        """The micro batches of a process's rows, in a step of so many `batches` over all processes
        whose `sizes` are given.

        The loss of a batch is divided by the supervised tokens of the whole step over the number of
        batches in it, which makes the average that DeepSpeed takes the mean over tokens, however
        unevenly they fall.
        """
        tokens, symbols = (max(1, size) / batches for size in step_sizes)
        for first in range(0, len(rows), micro_batch_size):
            batch_rows = rows[first : first + micro_batch_size]
            yield self.collate(batch_rows, tokens, symbols, step_sizes[0])

    def collate(
        self,
        rows: Sequence[Row],
        token_normaliser: float,
        byte_normaliser: float,
        step_tokens: int = 0,
    ) -> Batch:
        """The rows as tensors; padding stands at the end of each row."""
        documents = self.documents
        width = max(sum(piece.width for piece in row) for row in rows)
        histories = self.histories.of_rows(documents, rows, width) if self.histories else None
        columns = width + (histories.side_columns if histories else 0)
        ids = np.zeros((len(rows), columns), np.int64)
        positions = np.zeros((len(rows), columns), np.int64)
        pieces = np.full((len(rows), columns), -1, np.int64)
        flat = _Flat(self._first_written)
        signals = self._teacher(rows)
        for number, row in enumerate(rows):
            column = 0
            for order, piece in enumerate(row):
                document = documents[piece.document]
                place = (number, slice(column, column + piece.width))
                ids[place] = document.ids_T[piece.start : piece.start + piece.width]
                positions[place] = np.arange(piece.width)
                pieces[place] = order
                flat.add(piece, document, signals.get(piece.document), number * columns + column)
                column += piece.width
        if histories:
            histories.place(ids, positions, pieces)
        return Batch(
            ids_BT=torch.from_numpy(ids),
            positions_BT=torch.from_numpy(positions),
            piece_BT=torch.from_numpy(pieces),
            token_normaliser=token_normaliser,
            byte_normaliser=byte_normaliser,
            step_tokens=step_tokens,
            histories=histories,
            teacher_tokens=joined(flat.rows).map(_tensor) if flat.rows else None,
            has_unspelt=self.has_unspelt,
            **flat.tensors(),
        )

    def _teacher(self, rows: Sequence[Row]) -> dict[int, Signal]:
        if self.signals is None:
            return {}
        numbers = sorted({piece.document for row in rows for piece in row})
        return dict(zip(numbers, self.signals.read(numbers), strict=True))


def sizes(documents: Sequence[RenderedTokens], rows: Sequence[Row]) -> tuple[int, int]:
    """How many tokens of the rows are supervised, and how many symbols those spell."""
    read = ((documents[piece.document], piece) for row in rows for piece in row)
    counts = [document.count_T[supervised_positions(document, piece)] for document, piece in read]
    return sum(map(len, counts)), int(sum(count.sum() for count in counts))


class _Flat:
    """The supervised tokens and symbols of a batch, gathered piece by piece."""

    def __init__(self, first_written: int | None) -> None:
        self._first_written = first_written
        self.parts: dict[str, list[np.ndarray]] = {}
        self.rows: list[TokenScores[np.ndarray]] = []
        self.symbols = 0

    def add(
        self, piece: Piece, document: RenderedTokens, teacher: Signal | None, offset: int
    ) -> None:
        token_S = supervised_positions(document, piece)
        first, last = supervised_symbols(document, piece)
        symbols, log_probs, log_tail, rows = teacher or _no_teacher(len(document.symbols_N))
        if rows is not None:
            self.rows.append(_scores_within(rows, first, last, self.symbols))
        if not len(token_S):
            return
        symbol_S, count_S = document.symbol_T[token_S], document.count_T[token_S]
        symbols_N = document.symbols_N[first:last]
        self._put(
            source_S=offset + token_S - piece.start - 1,
            target_S=document.ids_T[token_S],
            symbol_S=symbol_S - first + self.symbols,
            count_S=count_S,
            symbols_N=symbols_N,
            blank_N=_blank(symbols_N, symbol_S - first, count_S),
            teacher_symbols_NK=symbols[first:last],
            teacher_log_probs_NK=log_probs[first:last],
            teacher_log_tail_N=log_tail[first:last],
        )
        if self._first_written is not None:
            is_written = piece.document >= self._first_written
            self._put(is_student_written_N=np.full(last - first, is_written))
        self.symbols += last - first

    def _put(self, **arrays: np.ndarray) -> None:
        for name, array in arrays.items():
            self.parts.setdefault(name, []).append(array)

    def tensors(self) -> dict[str, torch.Tensor]:
        if not self.parts:
            empty = np.zeros(0, np.int64)
            symbols, log_probs, log_tail, _ = _no_teacher(0)
            names = ("source_S", "target_S", "symbol_S", "count_S", "symbols_N", "blank_N")
            self._put(**dict.fromkeys(names, empty))
            self._put(teacher_symbols_NK=symbols, teacher_log_probs_NK=log_probs)
            self._put(teacher_log_tail_N=log_tail)
            if self._first_written is not None:
                self._put(is_student_written_N=empty)
        columns = {name: np.concatenate(arrays) for name, arrays in self.parts.items()}
        return {name: torch.from_numpy(a.astype(_dtype(name))) for name, a in columns.items()}


def _scores_within(
    scores: TokenScores[np.ndarray], first: int, last: int, offset: int
) -> TokenScores[np.ndarray]:
    """The tokens that lie inside a document's symbols [first, last), which are numbered from
    `offset` on."""
    kept = scores.of((scores.symbol_U >= first) & (scores.symbol_U + scores.count_U <= last))
    return kept._replace(symbol_U=kept.symbol_U - first + offset)


def _tensor(column: np.ndarray) -> torch.Tensor:
    is_integer = np.issubdtype(column.dtype, np.integer)
    return torch.from_numpy(column.astype(np.int64 if is_integer else np.float32))


def _blank(symbols_N: np.ndarray, symbol_S: np.ndarray, count_S: np.ndarray) -> np.ndarray:
    """Which symbols belong to tokens that spell whitespace alone."""
    token_N, symbol_N = ragged_range(symbol_S, symbol_S + count_S)
    written_S = np.bincount(token_N, ~WHITESPACE[symbols_N[symbol_N]], minlength=len(count_S))
    blank_N = np.zeros(len(symbols_N), bool)
    blank_N[symbol_N] = written_S[token_N] == 0
    return blank_N


def _dtype(name: str) -> type:
    return np.float32 if "log" in name else bool if name in BOOLEAN else np.int64


def _no_teacher(symbols: int) -> Signal:
    return Signal(
        np.zeros((symbols, 0), np.int64),
        np.zeros((symbols, 0), np.float32),
        np.full(symbols, -np.inf, np.float32),
    )
