"""Cutting long texts into pieces of bounded size at natural boundaries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence


def lines(text: str) -> list[str]:
    """The lines of `text`, each with its line feed; joined they are `text`."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def paragraphs(text: str) -> list[str]:
    """The paragraphs of `text`, each with the blank lines after it; joined they are `text`."""
    return re.findall(r".+?(?:\n\n+|\Z)", text, re.DOTALL)


def pack(
    units: Iterable[str],
    max_bytes: int,
    finer: Sequence[Callable[[str], Iterable[str]]] = (paragraphs, lines, list),
) -> Iterator[str]:
    """Join consecutive units into pieces of at most `max_bytes` bytes of UTF-8, losing nothing.

    A unit that is too long by itself is cut by the first of `finer`, and what is still too long by
    the next: by default into paragraphs, lines, characters.
    """
    piece: list[str] = []
    size = 0
    for unit in units:
        unit_bytes = len(unit.encode())
        if piece and size + unit_bytes > max_bytes:
            yield "".join(piece)
            piece, size = [], 0
        if unit_bytes > max_bytes:
            assert finer, f"a piece of {max_bytes} bytes does not hold one character"
            yield from pack(finer[0](unit), max_bytes, finer[1:])
        else:
            piece.append(unit)
            size += unit_bytes
    if piece:
        yield "".join(piece)
