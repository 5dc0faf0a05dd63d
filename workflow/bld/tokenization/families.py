"""Families of tokenizers: how the entries of a vocabulary are written.

Each family is one class here, and all that is particular to it: adding a class adds a family.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Specification = dict[str, Any]
"""A `tokenizer.json`."""

SPACE_MARK = "\u2581"


class Family:
    """A family; of several that match a tokenizer the first counts."""

    lookalike: re.Pattern[str] | None = None
    """Text that a user may type and that the tokenizer would read as an entry that spells something
    else. It is cut there; what a group matches is written byte by byte."""
    short_sighted: frozenset[str] = frozenset(
        {"ByteLevel", "Digits", "Metaspace", "Punctuation", "Split"}
    )
    """Pre-tokenizers that see words alone, so that text may be cut between words."""

    def __init__(self, specification: Specification) -> None:
        """The family of a tokenizer that matches."""

    @classmethod
    def matches(cls, specification: Specification) -> bool:
        """Whether a tokenizer is of this family."""
        raise NotImplementedError

    def spell(self, entry: str) -> bytes:
        """What an entry of the model spells."""
        raise NotImplementedError

    def spell_added(self, entry: str) -> bytes:
        """What an added token that is not special spells: its own text."""
        return entry.encode()

    def is_notation(self, normalizer: dict[str, Any]) -> bool:
        """Whether a normalizer is how this family writes text, and no change of the text."""
        return False


class ByteLevel(Family):
    """Every character of an entry stands for one byte through the bytes-to-unicode table of
    GPT-2."""

    def __init__(self, specification: Specification) -> None:
        self._byte_of = {character: byte for byte, character in bytes_to_unicode().items()}

    @classmethod
    def matches(cls, specification: Specification) -> bool:
        """A component says so."""
        if specification["model"].get("end_of_word_suffix"):
            return False
        return any(part["type"] == "ByteLevel" for part in components(specification))

    def spell(self, entry: str) -> bytes:
        """Raises ValueError for a character that stands for no byte."""
        try:
            return bytes(map(self._byte_of.__getitem__, entry))
        except KeyError as error:
            raise ValueError(
                f"the byte-level vocabulary holds the entry {entry!r}, whose character "
                f"{error.args[0]!r} stands for no byte; is it an added token that lacks its "
                "place in added_tokens?"
            ) from None

    def is_notation(self, normalizer: dict[str, Any]) -> bool:
        """The step through the table."""
        return bool(normalizer["type"] == "ByteLevel")


class SentencePiece(Family):
    """U+2581 stands for a space and, with byte fallback, `<0xNN>` for that byte."""

    byte_piece = re.compile(r"<0x([0-9A-Fa-f]{2})>")

    def __init__(self, specification: Specification) -> None:
        self._has_byte_fallback = bool(specification["model"].get("byte_fallback"))
        if self._has_byte_fallback:
            # A typed U+2581 would be read as a space, and the six characters <0x41> as one byte.
            # The second is safe once it is cut behind its "<".
            self.lookalike = re.compile(f"({SPACE_MARK})|(?<=<)(?=0x[0-9A-Fa-f]{{2}}>)")

    @classmethod
    def matches(cls, specification: Specification) -> bool:
        """Spaces are marked, or bytes are entries."""
        model = specification["model"]
        if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
            return False
        return bool(model.get("byte_fallback")) or any(
            part["type"] == "Metaspace" or _marks_spaces(part) for part in components(specification)
        )

    def spell(self, entry: str) -> bytes:
        """A byte, or text with its spaces."""
        piece = self.byte_piece.fullmatch(entry) if self._has_byte_fallback else None
        return bytes([int(piece[1], 16)]) if piece else self.spell_added(entry)

    def spell_added(self, entry: str) -> bytes:
        """Text with its spaces."""
        return entry.replace(SPACE_MARK, " ").encode()

    def is_notation(self, normalizer: dict[str, Any]) -> bool:
        """The marks of spaces."""
        return _marks_spaces(normalizer)


def family_of(specification: Specification) -> Family:
    """The family of a tokenizer; raises ValueError if it is of none, so that nothing says what its
    entries spell (WordPiece, for example)."""
    for family in Family.__subclasses__():
        if family.matches(specification):
            return family(specification)
    kinds = ", ".join(dict.fromkeys(part["type"] for part in components(specification)))
    families = ", ".join(family.__name__ for family in Family.__subclasses__())
    raise ValueError(
        f"a {specification['model']['type']} tokenizer made of ({kinds}) is of no known family "
        f"({families}), so what its entries spell is not known; use a model whose tokenizer is of "
        "one"
    )


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


def _marks_spaces(component: dict[str, Any]) -> bool:
    """Whether a normalizer is the one that writes U+2581 for a space."""
    expected = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE_MARK}
    return expected.items() <= component.items()
