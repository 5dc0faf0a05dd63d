"""How another tokenizer spells the entries of one: any bytes, also the pieces of characters
that no text consists of, written as its tokens."""

from __future__ import annotations

from bld.tokenization.rendering import Renderer


def spell(text: bytes, renderer: Renderer) -> list[int]:
    """The tokens that spell these bytes: the tokenizer's own encoding of valid text, else its
    longest entries from the left; none where it lacks one of the bytes."""
    try:
        return renderer.content.encode(text.decode(), "an entry of another vocabulary")
    except ValueError:
        pass
    ids, by_bytes = [], renderer.ids_by_bytes
    while text:
        length = max((n for n in range(1, len(text) + 1) if text[:n] in by_bytes), default=0)
        if not length:
            return []
        ids.append(by_bytes[text[:length]])
        text = text[length:]
    return ids
