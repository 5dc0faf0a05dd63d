"""A document rendered for one model: token ids, and the content bytes that each of them spells.

Models wrap the same content in different templates. What is compared between models is content
alone, so template and content are tokenised apart: no token ever straddles the two, template tokens
have no bytes, and content tokens, concatenated, are the content, byte for byte. That is checked for
every document.

Shape letters: T tokens of the rendered document, N supervised symbols (see
`symbols.supervised_symbols`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from bld.symbols import Segment, supervised_symbols
from bld.tokenization.chat_template import ChatTemplate
from bld.tokenization.content import ContentTokenizer
from bld.tokenization.loading import load_tokenizer, made_anew
from bld.tokenization.vocabulary import Vocabulary, read_vocabulary

PLAIN_ROLE = "text"
TURN_BREAK = "\n\n"


class Turn(NamedTuple):
    """A supervised segment inside a rendered document.

    Its content tokens are [first, last) and predict symbols [symbol, symbol + bytes); the symbol
    after those is END, which the token at `last` carries if `ends` is true.
    """

    first: int
    last: int
    symbol: int
    text: bytes
    ends: bool


@dataclass(frozen=True)
class Rendered:
    """Token ids and what they spell.

    ids_T: int32. span_T2: int32 byte offsets [start, stop) in the document's content, (-1, -1) for
    template tokens. symbol_T: int32, the first supervised symbol that a token spells, -1 if it is
    not supervised. count_T: int32, how many it spells (the bytes of a content token, 1 for a
    supervised end token). symbols_N: uint16.
    """

    ids_T: np.ndarray
    span_T2: np.ndarray
    symbol_T: np.ndarray
    count_T: np.ndarray
    symbols_N: np.ndarray
    turns: tuple[Turn, ...]

    def __len__(self) -> int:
        return len(self.ids_T)


class Renderer:
    """Renders documents for one tokenizer.

    `template`: "auto" puts conversations through the tokenizer's chat template if it has one,
    "plain" never does. `template_arguments` are passed to the template. `end_tokens` are names of
    further tokens that end a turn; the tokenizer's own, the one that the template writes after an
    answer and those of the generation configuration (`model_end_ids`) are found by themselves.
    `notes` says what the tokenizer would change in a text and how that was undone, and what is
    worth knowing of its template. Raises ValueError for a tokenizer that cannot be undone exactly,
    or without any end token.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: str = "auto",
        template_arguments: dict[str, Any] | None = None,
        end_tokens: Sequence[str] = (),
        model_end_ids: Sequence[int | None] = (),
    ) -> None:
        if getattr(tokenizer, "backend_tokenizer", None) is None:
            raise ValueError(
                f"{type(tokenizer).__name__} has no fast tokenizer (tokenizer.json), which is what "
                "byte offsets are read from; save the model with its fast tokenizer"
            )
        self._tokenizer = tokenizer
        self._chat_template: ChatTemplate | None = None
        self._template_ids: dict[tuple[str, ...], list[list[int]]] = {}

        specification = json.loads(tokenizer.backend_tokenizer.to_str())
        ends = {tokenizer.eos_token_id, *model_end_ids}
        ends |= {_id_of(name, specification) for name in end_tokens}
        for added in specification["added_tokens"]:
            added["special"] = added["special"] or added["id"] in ends
        vocabulary = read_vocabulary(specification)
        self.content = ContentTokenizer(specification, vocabulary)
        self.notes = [*self.content.notes, *_ordinary_ends(ends, vocabulary)]
        if template == "auto" and tokenizer.chat_template:
            self._chat_template = ChatTemplate(tokenizer, template_arguments or {})
            self.notes += self._chat_template.notes
            ends |= self._end_of_answer(self._chat_template)
        self.vocabulary = replace(vocabulary, end=vocabulary.special & ends)
        if not self.vocabulary.end:
            raise ValueError(
                "the tokenizer has no end token, so a student could never learn to stop; name one "
                "under end_tokens"
            )
        self._lengths = [len(spelt or b"") for spelt in vocabulary.token_bytes]
        self._start_ids = self._find_start_ids()
        self._end_id = self._id_for_plain_end()
        self._turn_break = self.content.encode_template(TURN_BREAK)

    @property
    def has_chats(self) -> bool:
        """Whether conversations go through a chat template of the model."""
        return self._chat_template is not None

    @property
    def vocabulary_size(self) -> int:
        """The number of ids, used or not; a model may have more logits than that."""
        return len(self.vocabulary)

    @cached_property
    def ids_by_bytes(self) -> dict[bytes, int]:
        """An entry for every byte string that one entry spells."""
        return {spelt: i for i, spelt in enumerate(self.vocabulary.token_bytes) if spelt}

    def render(self, segments: Sequence[Segment], name: str) -> Rendered:
        """Render one document; `name` stands in the errors.

        Raises ValueError if the tokens do not spell the content or the chat template refuses the
        roles.
        """
        before, between = self._frame([segment.role for segment in segments], segments, name)
        builder = _Builder()
        builder.add_template(before)
        for number, (segment, frame) in enumerate(zip(segments, between, strict=True)):
            where = name if len(segments) == 1 else f"{name}, segment {number} ({segment.role})"
            ids = self.content.encode(segment.text.decode(), where)
            lengths = [self._lengths[i] for i in ids]
            ends = bool(frame) and frame[0] in self.vocabulary.end
            builder.add_content(segment, ids, lengths, ends)
            builder.add_template(frame)
        return builder.build(segments)

    def _frame(
        self, roles: list[str], segments: Sequence[Segment], name: str
    ) -> tuple[list[int], list[list[int]]]:
        """Template ids before the first segment and after each one."""
        if self._chat_template and PLAIN_ROLE not in roles:
            key = tuple(roles)
            if key not in self._template_ids:
                first, *rest = self._chat_template.pieces(roles, name)
                self._template_ids[key] = [
                    self.content.encode_template(first, opens=True),
                    *(self.content.encode_template(piece) for piece in rest),
                ]
            before, *between = self._template_ids[key]
            return before or self._start_ids, between
        after = [[self._end_id] if segment.supervised else [] for segment in segments]
        for ids in after[:-1]:
            ids += self._turn_break
        return self._start_ids, after

    def _end_of_answer(self, chat_template: ChatTemplate) -> set[int]:
        """The special token that the template writes after an answer, if there is one."""
        *_, before, after = chat_template.pieces(("user", "assistant"), "a question and an answer")
        if before.endswith(" "):
            self.notes.append(
                "the chat template writes a space before an answer: it is a token of its own here, "
                "while the model may have learned it as part of the first word"
            )
        end = set(self.content.encode_template(after)[:1]) & self.content.vocabulary.special
        if not end:
            self.notes.append(
                f"the chat template writes {after!r} after an answer, which does not begin with a "
                "special token: no student learns to end an answer; if it begins with a token that "
                "should end one, name it under end_tokens"
            )
        return end

    def _find_start_ids(self) -> list[int]:
        """What the tokenizer puts before a text, else its start token, else an end token."""
        backend = self.content.backend
        bare = backend.encode("a", add_special_tokens=False).ids
        full = backend.encode("a", add_special_tokens=True).ids
        added = full[: full.index(bare[0])] if len(full) > len(bare) else []
        if added:
            return added
        for token_id in (self._tokenizer.bos_token_id, self._tokenizer.eos_token_id):
            if token_id is not None:
                return [token_id]
        return [min(self.vocabulary.end)]

    def _id_for_plain_end(self) -> int:
        eos = self._tokenizer.eos_token_id
        return eos if eos in self.vocabulary.end else min(self.vocabulary.end)


class _Builder:
    """Collects the tokens of one document."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.lengths: list[int] = []
        self.is_content: list[bool] = []
        self.supervised: list[bool] = []
        self.turns: list[Turn] = []
        self.symbols = 0

    def add_template(self, ids: list[int]) -> None:
        self._add(ids, [0] * len(ids), is_content=False, supervised=False)

    def add_content(self, segment: Segment, ids: list[int], lengths: list[int], ends: bool) -> None:
        first = len(self.ids)
        self._add(ids, lengths, is_content=True, supervised=segment.supervised)
        if segment.supervised:
            self.turns.append(Turn(first, len(self.ids), self.symbols, segment.text, ends))
            self.symbols += len(segment.text) + 1

    def _add(self, ids: list[int], lengths: list[int], is_content: bool, supervised: bool) -> None:
        self.ids += ids
        self.lengths += lengths
        self.is_content += [is_content] * len(ids)
        self.supervised += [supervised] * len(ids)

    def build(self, segments: Sequence[Segment]) -> Rendered:
        length_T = np.array(self.lengths, np.int32)
        stop_T = np.cumsum(length_T, dtype=np.int32)
        span_T2 = np.stack([stop_T - length_T, stop_T], axis=1)
        span_T2[~np.array(self.is_content, bool)] = -1
        symbol_T = np.full(len(self.ids), -1, np.int32)
        count_T = np.where(self.supervised, length_T, 0).astype(np.int32)
        for turn in self.turns:
            tokens = slice(turn.first, turn.last)
            symbol_T[tokens] = (
                turn.symbol + stop_T[tokens] - length_T[tokens] - stop_T[turn.first - 1]
            )
            if turn.ends:
                symbol_T[turn.last], count_T[turn.last] = turn.symbol + len(turn.text), 1
        return Rendered(
            ids_T=np.array(self.ids, np.int32),
            span_T2=span_T2,
            symbol_T=symbol_T,
            count_T=count_T,
            symbols_N=np.array(supervised_symbols(segments), np.uint16),
            turns=tuple(self.turns),
        )


def _id_of(name: str, specification: dict[str, Any]) -> int:
    for added in specification["added_tokens"]:
        if added["content"] == name:
            return int(added["id"])
    raise ValueError(
        f"end_tokens names {name!r}, which is not an added token of the tokenizer: either it does "
        "not exist or it spells text"
    )


def _ordinary_ends(ends: set[int | None], vocabulary: Vocabulary) -> list[str]:
    return [
        f"token {token_id}, an end token by the generation configuration, is not a special token "
        "of the tokenizer: it counts as the text that it spells"
        for token_id in sorted(i for i in ends if i is not None and i not in vocabulary.special)
    ]


def load_renderer(
    folder: Path,
    template: str = "auto",
    template_arguments: dict[str, Any] | None = None,
    end_tokens: Sequence[str] = (),
    trust_remote_code: bool = False,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Renderer:
    """The renderer of a model folder, by its own tokenizer if none is given; its generation
    configuration tells further end tokens.

    Raises ValueError if the tokenizer cannot be used.
    """
    generation = folder / "generation_config.json"
    eos = json.loads(generation.read_text()).get("eos_token_id") if generation.exists() else None
    model_end_ids = eos if isinstance(eos, list) else [] if eos is None else [eos]
    tokenizer = tokenizer or load_tokenizer(folder, trust_remote_code)
    try:
        renderer = Renderer(tokenizer, template, template_arguments, end_tokens, model_end_ids)
    except ValueError as error:
        raise ValueError(f"the tokenizer in {folder}: {error}") from error
    if otherwise := made_anew(tokenizer, folder, trust_remote_code):
        renderer.notes.append(f"{otherwise}; load it with PreTrainedTokenizerFast.from_pretrained")
    return renderer
