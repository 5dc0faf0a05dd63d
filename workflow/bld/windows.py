"""Cutting long documents into windows, and short ones into batches of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """Tokens [start, stop) of a document in one forward pass, whose outputs are used from position
    `fresh` on."""

    start: int
    stop: int
    fresh: int


def windows(length: int, window: int, overlap: int) -> Iterator[Window]:
    """Cut `length` tokens so that the output of every position is used once, after `overlap` tokens
    of context where there are as many."""
    assert 0 <= overlap < window
    stop = min(length, window)
    yield Window(0, stop, 0)
    while stop < length:
        fresh, start = stop, stop - overlap
        stop = min(length, start + window)
        yield Window(start, stop, fresh)


def batches_of_like_length(
    lengths: Sequence[int] | np.ndarray, batch_tokens: int, padding: float = 0.1
) -> Iterator[list[int]]:
    """Indexes in batches of at most `batch_tokens` positions (or one element), of which at most the
    fraction `padding` is padding; the longest come first."""
    batch: list[int] = []
    filled = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        size = (len(batch) + 1) * lengths[batch[0]] if batch else 0
        if size > batch_tokens or filled + lengths[index] < (1 - padding) * size:
            yield batch
            batch, filled = [], 0
        batch.append(index)
        filled += int(lengths[index])
    if batch:
        yield batch


@dataclass(frozen=True)
class LongDocuments:
    """What becomes of the documents of a training that are longer than its rows, in one epoch.

    `documents`: all that have something to learn; `long`: those longer than a row, of which
    `dropped` are left out and the others read in `pieces`, each behind `context` tokens of the text
    before it. `answers` begin in a piece that the beginning of their document does not stand in.
    `tokens` are read in all, `repeated` of them for a second time, and `unread` not at all.
    """

    row_length: int
    context: int
    documents: int
    long: int
    dropped: int
    pieces: int
    answers: int
    tokens: int
    repeated: int
    unread: int

    def __str__(self) -> str:
        cut = self.long - self.dropped
        said = [
            f"{self.long:,} of {self.documents:,} documents are longer than a row of "
            f"{self.row_length:,} tokens"
        ]
        if self.dropped:
            said.append(f"{self.dropped:,} of them are left out")
        if cut:
            said.append(
                f"{cut:,} are read in {self.pieces:,} pieces behind at least {self.context:,} "
                f"tokens of the text before, or all of it: {self.repeated:,} of {self.tokens:,} "
                "tokens of an epoch are read again"
            )
        if self.answers:
            said.append(
                f"{self.answers:,} answers do not see the beginning of what stands before them"
            )
        if self.unread:
            said.append(f"{self.unread:,} tokens are not read")
        return "; ".join(said)
