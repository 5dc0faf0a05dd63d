"""What every entry of a vocabulary spells, and which entries are special or end a turn.

The answer is read from the types of the tokenizer's own components, never guessed from how its
entries look: `decode([id])` is wrong for partial UTF-8 and for leading spaces, and an entry
`<0x41>` is a byte in one family and six characters in another.

Two families cover what our users have:
* byte-level: every character of an entry stands for one byte through the bytes-to-unicode table of
  GPT-2;
* SentencePiece-style: U+2581 stands for a space and, with byte fallback, `<0xNN>` for that byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
SPACE_MARK = "\u2581"


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer's entries as bytes.

    `token_bytes[i]` is what entry i spells; None where it spells nothing (special, or an unused
    id). `end` are the ids that end a turn or a document (symbol END); `special` all ids without
    bytes that the tokenizer does have, `end` included. An id that is neither special nor has bytes
    is absent: the model must never be credited for it. Several ids may spell the same bytes.
    """

    token_bytes: tuple[bytes | None, ...]
    special: frozenset[int]
    end: frozenset[int]

    def __len__(self) -> int:
        return len(self.token_bytes)


def spelt(vocabulary: Vocabulary) -> dict[int, tuple[bool, bytes]]:
    """What each entry spells, as (whether it ends a turn, bytes), end tokens first; entries that spell
    nothing are left out."""
    ends = dict.fromkeys(sorted(vocabulary.end), (True, b""))
    return ends | {i: (False, text) for i, text in enumerate(vocabulary.token_bytes) if text}


def read_vocabulary(specification: dict[str, Any]) -> Vocabulary:
    """The vocabulary of a tokenizer, given its `tokenizer.json` as a dictionary; `end` is empty.

    Raises ValueError for a family whose entries cannot be mapped to bytes (WordPiece, for example).
    """
    entries = dict(model_entries(specification))
    special: dict[int, str] = {}
    for added in specification["added_tokens"]:
        entries.pop(added["id"], None)
        (special if added["special"] else entries)[added["id"]] = added["content"]
    special.update({i: entries.pop(i) for i in unknown_ids(specification) if i in entries})
    added = {a["id"] for a in specification["added_tokens"] if not a["special"]}
    spell, spell_added = _spelling(specification)

    token_bytes: list[bytes | None] = [None] * (max([*entries, *special]) + 1)
    for token_id, entry in entries.items():
        token_bytes[token_id] = (spell_added if token_id in added else spell)(entry)
    return Vocabulary(tuple(token_bytes), frozenset(special), frozenset())


def model_entries(specification: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """(id, entry) of the model part of a tokenizer; added tokens are listed elsewhere in it."""
    vocabulary = specification["model"]["vocab"]
    if isinstance(vocabulary, dict):
        yield from ((token_id, entry) for entry, token_id in vocabulary.items())
    else:
        yield from ((token_id, entry) for token_id, (entry, _) in enumerate(vocabulary))


def unknown_ids(specification: dict[str, Any]) -> set[int]:
    """The id that stands for whatever the vocabulary cannot spell: it has no bytes of its own."""
    model = specification["model"]
    if model["type"] == "Unigram":
        return set() if model.get("unk_id") is None else {model["unk_id"]}
    vocabulary = model["vocab"]
    return {vocabulary[model["unk_token"]]} if model.get("unk_token") in vocabulary else set()


def is_byte_level(specification: dict[str, Any]) -> bool:
    """Whether entries are written in the bytes-to-unicode table."""
    if specification["model"].get("end_of_word_suffix"):
        return False
    return any(part["type"] == "ByteLevel" for part in components(specification))


def is_sentencepiece(specification: dict[str, Any]) -> bool:
    """Whether entries write a space as U+2581."""
    model = specification["model"]
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        return False
    return has_byte_fallback(specification) or any(
        part["type"] == "Metaspace" or marks_spaces(part) for part in components(specification)
    )


def marks_spaces(component: dict[str, Any]) -> bool:
    """Whether a normalizer is the one that writes U+2581 for a space."""
    return (
        component["type"] == "Replace"
        and component["pattern"] == {"String": " "}
        and component["content"] == SPACE_MARK
    )


def has_byte_fallback(specification: dict[str, Any]) -> bool:
    """Whether text that no entry spells is written as `<0xNN>` entries."""
    return bool(specification["model"].get("byte_fallback"))


def components(specification: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every normalizer, pre-tokenizer and decoder of a tokenizer, sequences unfolded."""
    for slot in ("normalizer", "pre_tokenizer", "decoder"):
        yield from unfold(specification.get(slot))


def unfold(component: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """A component, or the parts of a sequence of them, in order."""
    if component is None:
        return
    if component["type"] == "Sequence":
        for name in ("normalizers", "pretokenizers", "decoders"):
            for part in component.get(name, ()):
                yield from unfold(part)
    else:
        yield component


def bytes_to_unicode() -> dict[int, str]:
    """The printable stand-in of each byte in byte-level vocabularies (GPT-2, section 2.2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    shifted = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + rank) for rank, byte in enumerate(shifted)
    }


def _spelling(
    specification: dict[str, Any],
) -> tuple[Callable[[str], bytes], Callable[[str], bytes]]:
    """What an entry of the model spells, and what an added token does."""
    if is_byte_level(specification):
        byte_of = {character: byte for byte, character in bytes_to_unicode().items()}

        def byte_level(entry: str) -> bytes:
            try:
                return bytes(byte_of[character] for character in entry)
            except KeyError as error:
                raise ValueError(
                    f"the byte-level vocabulary holds the entry {entry!r}, whose character "
                    f"{error.args[0]!r} stands for no byte; is it an added token that lacks its "
                    "place in added_tokens?"
                ) from None

        return byte_level, str.encode

    if is_sentencepiece(specification):
        fallback = has_byte_fallback(specification)

        def literal(entry: str) -> bytes:
            return entry.replace(SPACE_MARK, " ").encode()

        def sentencepiece(entry: str) -> bytes:
            piece = BYTE_PIECE.fullmatch(entry) if fallback else None
            return bytes([int(piece[1], 16)]) if piece else literal(entry)

        return sentencepiece, literal
    kinds = ", ".join(dict.fromkeys(part["type"] for part in components(specification)))
    raise ValueError(
        f"a {specification['model']['type']} tokenizer made of ({kinds}) is neither byte-level nor "
        "SentencePiece-style, so what its entries spell is not known; use a model whose tokenizer "
        "is one of these"
    )
