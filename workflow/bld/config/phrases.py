"""Parts of sentences about settings."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any

LONGEST_SHOWN = 60


def shown(value: Any) -> str:
    """A value as it is written in YAML, cut if it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def did_you_mean(word: Any, allowed: Iterable[str]) -> str:
    """The end of a sentence: the nearest of the allowed words, or all of them."""
    allowed = list(allowed)
    return nearest(word, allowed) or f"; there are {listed(allowed) or 'none'}"


def nearest(word: Any, allowed: Iterable[str]) -> str:
    """The end of a sentence: the nearest of the allowed words, if one is near."""
    close = difflib.get_close_matches(str(word), list(allowed), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def listed(words: Iterable[str]) -> str:
    """Words as "`a`, `b`"."""
    return ", ".join(f"`{word}`" for word in words)


def either(words: Iterable[str]) -> str:
    """Words as "a, b or c"."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
