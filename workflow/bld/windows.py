"""Cutting long documents into windows, and short ones into batches of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
