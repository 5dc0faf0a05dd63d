"""What every entry of a vocabulary spells, and which entries are special or end a turn.

The answer is read from the types of the tokenizer's own components, never guessed from how its
entries look: `decode([id])` is wrong for partial UTF-8 and for leading spaces, and an entry
`<0x41>` is a byte in one family and six characters in another.
Which component means what is a matter of the tokenizer's family, see `families`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bld.tokenization.families import family_of


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

    def of_model(self, logits: int) -> Vocabulary:
        """The entries that a model with so many logits can give.

        Some models have fewer than their tokenizer has entries: what is beyond stands for an image,
        say, and is in no text. Raises ValueError if an entry beyond spells bytes or ends a turn.
        """
        beyond = range(logits, len(self))
        if lost := [i for i in beyond if self.token_bytes[i] is not None or i in self.end]:
            raise ValueError(
                f"the tokenizer has {len(self)} entries but the model has only {logits} logits, "
                f"and {len(lost)} of those beyond, {lost[0]} first, stand in texts; tokenizer and "
                "model do not belong together"
            )
        return replace(
            self, token_bytes=self.token_bytes[:logits], special=self.special - {*beyond}
        )


def named_ids(named: int | Sequence[int] | None) -> list[int]:
    """The ids that a configuration names under one key: one, several or none."""
    return [] if named is None else [named] if isinstance(named, int) else list(named)


def spelt(vocabulary: Vocabulary) -> dict[int, tuple[bool, bytes]]:
    """What each entry spells, as (whether it ends a turn, bytes), end tokens first; entries that
    spell nothing are left out."""
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
    family = family_of(specification)

    token_bytes: list[bytes | None] = [None] * (max([*entries, *special]) + 1)
    for token_id, entry in entries.items():
        token_bytes[token_id] = (
            family.spell_added(entry) if token_id in added else family.spell(entry)
        )
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
