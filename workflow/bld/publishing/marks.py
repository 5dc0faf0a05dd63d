"""Compares texts of which something personal was taken out: of words with a mark only the place is compared."""

from __future__ import annotations

import re
from collections.abc import Callable

from bld.privacy import USER
from bld.publishing.scrub import GONE

MARK = re.compile(f"{GONE}|{USER}|~")
WORD = re.compile(r"[^\s,;:<>\"'|()\[\]{}]+")
NUMBER = re.compile(r"\W?\d")
Same = Callable[[str, str], bool]


def same_but_for_marks(one: str, other: str) -> bool:
    """Whether two texts are the same, but for words with a mark, which stand for any word but a number."""
    words = zip(WORD.findall(one), WORD.findall(other), strict=False)
    return WORD.split(one) == WORD.split(other) and all(
        a == b or _is_taken_out(a, b) or _is_taken_out(b, a) for a, b in words
    )


def _is_taken_out(word: str, original: str) -> bool:
    return bool(MARK.search(word)) and not NUMBER.match(original)
