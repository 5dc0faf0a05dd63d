"""The 260 outcomes of a byte distribution: 256 bytes and four specials.

The paper counts 260 outputs without naming the four; ours are END (the model ends the turn or the
document: every end token of a model maps to it), SPECIAL (any other special token), BOS and PAD.
END is the bridge that lets a student learn to stop, since an end token spells no bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

END = 256
SPECIAL = 257
TRIE_SYMBOLS = SPECIAL + 1  # 256 bytes, END, SPECIAL
BOS = 258
PAD = 259
SYMBOLS = 260

HEAD_BYTES = 10
"""Bytes of a token that byte heads predict (section 3 of arXiv 2604.07466)."""
MIN_PROBABILITY = 1e-30
"""What is less probable counts as this probable where a logarithm or a ratio is taken."""


REASONING = "reasoning"
"""Role of what the assistant thinks before the content that follows."""
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
"""What messages, and the templates that read them, call it."""
TOOL_CALLS = "tool_calls"
"""Role of the calls that the assistant makes after the content before: a JSON list of objects with
`type`, `function` (`name` and `arguments`, an object) and, where they have one, `id`."""
TOOLS = "tools"
"""Role of the tools that may be called, before all else: a JSON list of their descriptions."""


class Segment(NamedTuple):
    """Content by one role; `supervised` says whether a student is trained on it.

    Roles: "text" for a document that is no conversation; "system", "developer", "user", "assistant"
    and "tool" (the result of a call) for messages, each of which has one such segment; and the
    three above for what stands beside them.
    """

    role: str
    text: bytes
    supervised: bool


def supervised_symbols(segments: Sequence[Segment]) -> list[int]:
    """What a model is evaluated on: the bytes of every supervised segment, each followed by END."""
    return [symbol for segment in segments if segment.supervised for symbol in (*segment.text, END)]
