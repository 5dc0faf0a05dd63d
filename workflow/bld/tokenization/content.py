"""A tokenizer that takes content as it is: no byte is added, dropped or read as a special token.

Tokenizers change text before they cut it: a space is put in front, Unicode is normalised, "</s>"
typed by a user becomes the end of the turn. Content must come back byte for byte, so each such step
is undone exactly in a copy of the tokenizer, or the tokenizer is refused with the reason. What was
undone is listed in `notes`, in words for the user.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Any

from tokenizers import Tokenizer

from bld.tokenization.families import family_of, unfold
from bld.tokenization.vocabulary import Vocabulary, model_entries, unknown_ids

REFUSED_NORMALIZERS = {
    "Lowercase": "it lower-cases the text",
    "StripAccents": "it strips accents",
    "BertNormalizer": "it cleans and lower-cases the text",
}


class ContentTokenizer:
    """Text to the ids whose bytes are exactly that text.

    `notes` says what the tokenizer would have changed and how that was undone. `backend` is the
    tokenizer as it is, but for truncation, padding and dropout; `outline` its `tokenizer.json`
    without the entries of its model. Raises ValueError at construction
    for a tokenizer whose changes cannot be undone because its model never learned the unchanged
    text.
    """

    def __init__(self, specification: dict[str, Any], vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        exact, self.notes = without_text_changes(specification)
        self.backend = Tokenizer.from_str(json.dumps(repeatable(specification)))
        self._content = Tokenizer.from_str(json.dumps(without_special_tokens(exact)))
        parts = {k: v for k, v in specification["model"].items() if k not in ("vocab", "merges")}
        self.outline = specification | {"model": parts}
        self._lookalike = family_of(specification).lookalike
        self._byte_ids: dict[bytes, int] = {}
        if self._lookalike:
            self._byte_ids = {spelt: i for i, spelt in enumerate(vocabulary.token_bytes) if spelt}

    def encode(self, text: str, where: str) -> list[int]:
        """The ids of `text`; raises ValueError naming `where` if their bytes are not the text."""
        ids = self._ids_of(text)
        self._check(ids, text.encode(), where)
        return ids

    def encode_each(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts; whether their bytes are the texts is not checked."""
        encodings = self._content.encode_batch_fast(texts, add_special_tokens=False)
        if self._lookalike is None:
            return [encoding.ids for encoding in encodings]
        return [
            self._ids_of(text) if self._lookalike.search(text) else encoding.ids
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def encode_template(self, text: str, opens: bool = False) -> list[int]:
        """The ids of a stretch of template, as the tokenizer makes them.

        Unless it `opens` the document it stands behind content: up to its first special token
        nothing is put in front of it.
        """
        encoding = self.backend.encode(text, add_special_tokens=False)
        if opens:
            return encoding.ids
        starts = (start for start, _ in encoding.offsets)
        special = (i in self.vocabulary.special for i in encoding.ids)
        first = next(compress(starts, special), len(text))
        rest = self.backend.encode(text[first:], add_special_tokens=False)
        return self._ids_of(text[:first]) + rest.ids

    def _ids_of(self, text: str) -> list[int]:
        if self._lookalike is None:
            return self._content.encode(text, add_special_tokens=False).ids
        first, *others = self._lookalike.split(text)
        ids = self._content.encode(first, add_special_tokens=False).ids
        for mark, part in zip(others[::2], others[1::2], strict=True):
            ids += [self._byte_ids[bytes([byte])] for byte in (mark or "").encode()]
            ids += self._content.encode(part, add_special_tokens=False).ids
        return ids

    def _check(self, ids: Sequence[int], content: bytes, where: str) -> None:
        spelt = [self.vocabulary.token_bytes[token_id] for token_id in ids]
        if None not in spelt and b"".join(filter(None, spelt)) == content:
            return
        offset, found = 0, "the tokens end there"
        for token_id, token_bytes in zip(ids, spelt, strict=True):
            if not token_bytes or not content.startswith(token_bytes, offset):
                name = self.backend.id_to_token(token_id)
                found = f"token {token_id} ({name!r}) spells {token_bytes!r}"
                break
            offset += len(token_bytes)
        raise ValueError(
            f"{where}: the tokens do not spell the text. At byte {offset} the text has "
            f"{content[offset : offset + 24]!r}, but {found}. This tokenizer cannot write that "
            "text; take the document out or use a model whose tokenizer is byte-level or has byte "
            "fallback"
        )


def repeatable(specification: dict[str, Any]) -> dict[str, Any]:
    """A `tokenizer.json` whose ids do not depend on chance or on a length that was set once."""
    model = specification["model"]
    if model.get("dropout"):
        model = model | {"dropout": None}
    return specification | {"truncation": None, "padding": None, "model": model}


def without_text_changes(specification: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A `tokenizer.json` that leaves text as it is, and what had to be undone."""
    result, notes = repeatable(specification) | {"post_processor": None}, []
    result["pre_tokenizer"] = copy.deepcopy(specification["pre_tokenizer"])
    result["added_tokens"] = [dict(added) for added in specification["added_tokens"]]
    if specification["model"].get("dropout"):
        notes.append("BPE dropout is switched off: the same text must give the same tokens")

    kept, family = [], family_of(specification)
    for normalizer in unfold(specification.get("normalizer")):
        kind = normalizer["type"]
        if kind in REFUSED_NORMALIZERS:
            raise ValueError(
                f"the tokenizer's normalizer {kind} cannot be undone: {REFUSED_NORMALIZERS[kind]}, "
                "and the model has never seen text without that; use a model whose tokenizer keeps "
                "text as it is"
            )
        if kind == "Prepend":
            notes.append(f"the {normalizer['prepend']!r} put in front of every text is left out")
        elif family.is_notation(normalizer):
            kept.append(normalizer)
        else:
            notes.append(f"the normalizer {kind} is left out: text keeps the bytes that it has")
    result["normalizer"] = {"type": "Sequence", "normalizers": kept} if kept else None

    for part in unfold(result.get("pre_tokenizer")):
        if part["type"] == "Metaspace" and part.get("prepend_scheme", "always") != "never":
            part["prepend_scheme"] = "never"
            notes.append("the space put in front of every text is left out")
        if part.get("add_prefix_space"):
            part["add_prefix_space"] = False
            notes.append("the space put in front of every text is left out")
    for added in result["added_tokens"]:
        if not added["special"] and (added["lstrip"] or added["rstrip"]):
            added.update(lstrip=False, rstrip=False)
            notes.append(
                f"the added token {added['content']!r} no longer swallows spaces beside it"
            )
    return result, notes


def without_special_tokens(specification: dict[str, Any]) -> dict[str, Any]:
    """The same, but special tokens keep their ids under names that no text spells."""
    new_names = dict(_unspellable_names(specification))
    model = dict(specification["model"])
    if isinstance(model["vocab"], dict):
        model["vocab"] = {new_names.get(name, name): i for name, i in model["vocab"].items()}
    else:
        model["vocab"] = [[new_names.get(name, name), score] for name, score in model["vocab"]]
    if model.get("unk_token") in new_names:
        model["unk_token"] = new_names[model["unk_token"]]
    added_tokens = [
        added | {"content": new_names.get(added["content"], added["content"])}
        for added in specification["added_tokens"]
    ]
    return specification | {"model": model, "added_tokens": added_tokens}


def _unspellable_names(specification: dict[str, Any]) -> Iterator[tuple[str, str]]:
    # U+FDD0 is a noncharacter: text that is meant to be exchanged does not contain it.
    special = {a["id"]: a["content"] for a in specification["added_tokens"] if a["special"]}
    unknown = unknown_ids(specification)
    special |= {i: name for i, name in model_entries(specification) if i in unknown}
    for token_id, name in special.items():
        yield name, f"\ufdd0special-{token_id}\ufdd0"
