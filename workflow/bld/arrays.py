"""Index arithmetic on arrays, sequences over them, and how much is computed at once; no torch.

Shape letters: A elements.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar, overload

import numpy as np

Element = TypeVar("Element", covariant=True)
Text = TypeVar("Text", str, bytes)

LOGITS_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Elements of the blocks [positions, vocabulary] in which logits are computed, by device."""


def threads() -> int:
    """How many threads or processes a job may use: those of its rule, else all cores."""
    return int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))


class Lazy(Sequence[Element]):
    """A sequence of `size` elements, each made by its number when it is asked for."""

    def __init__(self, size: int, element: Callable[[int], Element]) -> None:
        self._numbers, self._element = range(size), element

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> Element: ...
    @overload
    def __getitem__(self, place: slice) -> list[Element]: ...
    def __getitem__(self, place: int | slice) -> Element | list[Element]:
        number = self._numbers[place]
        return self._element(number) if isinstance(number, int) else [*map(self._element, number)]


def ragged_range(start_A: np.ndarray, stop_A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All integers of the ranges [start, stop), range by range: (index of the range, integer)."""
    size_A = stop_A - start_A
    owner = np.repeat(np.arange(len(size_A)), size_A)
    value = np.arange(len(owner))
    value += np.repeat(start_A - np.cumsum(size_A) + size_A, size_A)
    return owner, value


def rank_within(group_A: np.ndarray, key_A: np.ndarray | None = None) -> np.ndarray:
    """The rank [A], from 0, of each element among those of its group: by rising key, ties (and all
    elements without keys) in their order. Groups are numbers from 0 on."""
    order = np.lexsort([group_A] if key_A is None else [key_A, group_A])
    first = np.flatnonzero(np.diff(group_A[order], prepend=-1))
    rank_A = np.empty(len(order), np.int64)
    rank_A[order] = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
    return rank_A


def around_difference(one: Text, other: Text, before: int) -> tuple[Text, Text]:
    """Two texts from so much before their first difference to twice as much behind it."""
    pairs = enumerate(zip(one, other, strict=False))
    same = next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
    place = slice(max(0, same - before), same + 2 * before)
    return one[place], other[place]
