"""Rendered documents and the teacher's byte distributions as tensors for one forward pass.

Shape letters: B rows, T tokens in a row, S supervised tokens of the batch, N supervised symbols of
its documents, K kept symbols.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import torch

from bld.tokenization.rendering import Rendered
from bld.training.packing import Piece, Row


class Signals(Protocol):
    """The teacher's byte distributions of a document, by its index among the training documents."""

    def read(self, document: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Symbols [N, K], log-probabilities [N, K] (-inf where unused) and log tail mass [N]."""
        ...


@dataclass
class Batch:
    """One micro batch.

    `piece_BT` numbers the piece that a token belongs to (-1 for padding): attention stays inside a
    piece. `source_S` is the flat position (row * T + column) whose hidden state predicts supervised
    token `target_S`; that token spells `count_S` symbols from `symbol_S` on in `symbols_N`.
    `tokens` and `bytes` are what sums are divided by, so that the mean over processes and
    accumulated batches is the mean over the whole step.
    """

    ids_BT: torch.Tensor
    positions_BT: torch.Tensor
    piece_BT: torch.Tensor
    source_S: torch.Tensor
    target_S: torch.Tensor
    symbol_S: torch.Tensor
    count_S: torch.Tensor
    symbols_N: torch.Tensor
    teacher_symbols_NK: torch.Tensor
    teacher_log_probs_NK: torch.Tensor
    teacher_log_tail_N: torch.Tensor
    tokens: float
    bytes: float

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        moved |= {k: v.to(device) for k, v in moved.items() if isinstance(v, torch.Tensor)}
        return Batch(**moved)

    def mask_B1TT(self, dtype: torch.dtype) -> torch.Tensor:
        """What is added to attention scores: 0 where a token may look, the lowest number
        elsewhere."""
        same_BTT = self.piece_BT[:, :, None] == self.piece_BT[:, None, :]
        allowed_BTT = same_BTT.tril()
        mask = torch.zeros(allowed_BTT.shape, dtype=dtype, device=allowed_BTT.device)
        return mask.masked_fill_(~allowed_BTT, torch.finfo(dtype).min)[:, None]


def supervised_positions(document: Rendered, piece: Piece) -> np.ndarray:
    """The tokens of a piece that are trained on."""
    supervised_T = document.symbol_T[piece.fresh : piece.stop] >= 0
    return piece.fresh + np.flatnonzero(supervised_T)


def step_batches(
    documents: Sequence[Rendered],
    rows: Sequence[Row],
    signals: Signals | None,
    micro_batch_size: int,
    rank: int,
    world_size: int,
) -> Iterator[Batch]:
    """This process's micro batches of one optimiser step, whose rows (of all processes) are given.

    The loss of a batch is divided by the supervised tokens of the whole step over the number of
    batches in it, which makes the average that DeepSpeed takes the mean over tokens, however
    unevenly they fall.
    """
    batches = len(rows) / micro_batch_size
    counts = [
        documents[piece.document].count_T[supervised_positions(documents[piece.document], piece)]
        for row in rows
        for piece in row
    ]
    tokens = max(1, sum(map(len, counts))) / batches
    symbols = max(1, int(sum(count.sum() for count in counts))) / batches
    own = rows[rank::world_size]
    for first in range(0, len(own), micro_batch_size):
        yield collate(documents, own[first : first + micro_batch_size], signals, tokens, symbols)


def collate(
    documents: Sequence[Rendered],
    rows: Sequence[Row],
    signals: Signals | None,
    tokens: float,
    symbols: float,
) -> Batch:
    """The rows as tensors; padding stands at the end of each row."""
    width = max(sum(piece.stop - piece.start for piece in row) for row in rows)
    ids = np.zeros((len(rows), width), np.int64)
    positions = np.zeros((len(rows), width), np.int64)
    pieces = np.full((len(rows), width), -1, np.int64)
    flat = _Flat()
    for number, row in enumerate(rows):
        column = 0
        for order, piece in enumerate(row):
            document = documents[piece.document]
            length = piece.stop - piece.start
            place = (number, slice(column, column + length))
            ids[place] = document.ids_T[piece.start : piece.stop]
            positions[place] = np.arange(length)
            pieces[place] = order
            flat.add(piece, document, signals, number * width + column)
            column += length
    return Batch(
        ids_BT=torch.from_numpy(ids),
        positions_BT=torch.from_numpy(positions),
        piece_BT=torch.from_numpy(pieces),
        tokens=tokens,
        bytes=symbols,
        **flat.tensors(),
    )


class _Flat:
    """The supervised tokens and symbols of a batch, gathered piece by piece."""

    def __init__(self) -> None:
        self.parts: dict[str, list[np.ndarray]] = {}
        self.symbols = 0

    def add(self, piece: Piece, document: Rendered, signals: Signals | None, offset: int) -> None:
        token_S = supervised_positions(document, piece)
        if not len(token_S):
            return
        symbol_S, count_S = document.symbol_T[token_S], document.count_T[token_S]
        first, last = int(symbol_S[0]), int(symbol_S[-1] + count_S[-1])
        teacher = signals.read(piece.document) if signals else _no_teacher(len(document.symbols_N))
        self._put(
            source_S=offset + token_S - piece.start - 1,
            target_S=document.ids_T[token_S],
            symbol_S=symbol_S - first + self.symbols,
            count_S=count_S,
            symbols_N=document.symbols_N[first:last],
            teacher_symbols_NK=teacher[0][first:last],
            teacher_log_probs_NK=teacher[1][first:last],
            teacher_log_tail_N=teacher[2][first:last],
        )
        self.symbols += last - first

    def _put(self, **arrays: np.ndarray) -> None:
        for name, array in arrays.items():
            self.parts.setdefault(name, []).append(array)

    def tensors(self) -> dict[str, torch.Tensor]:
        if not self.parts:
            empty = np.zeros(0, np.int64)
            symbols, log_probs, log_tail = _no_teacher(0)
            self._put(
                source_S=empty, target_S=empty, symbol_S=empty, count_S=empty, symbols_N=empty
            )
            self._put(teacher_symbols_NK=symbols, teacher_log_probs_NK=log_probs)
            self._put(teacher_log_tail_N=log_tail)
        joined = {name: np.concatenate(arrays) for name, arrays in self.parts.items()}
        return {
            name: torch.from_numpy(a.astype(np.float32 if "log" in name else np.int64))
            for name, a in joined.items()
        }


def _no_teacher(symbols: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.zeros((symbols, 0), np.int64),
        np.zeros((symbols, 0), np.float32),
        np.full(symbols, -np.inf, np.float32),
    )
