"""A document rendered for one model: token ids, and the content bytes that each of them spells.

Models wrap the same content in different templates. What is compared between models is content
alone, so template and content are tokenised apart: no token ever straddles the two, template tokens
have no bytes, and content tokens, concatenated, are the content, byte for byte. That is checked for
every document. Where a model is trained on what its template writes of reasoning and calls, that is
content too.

Shape letters: T tokens of the rendered document, N supervised symbols (see
`symbols.supervised_symbols`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from bld.symbols import Segment, supervised_symbols
from bld.tokenization.chat_template import ChatTemplate
from bld.tokenization.content import ContentTokenizer
from bld.tokenization.loading import load_tokenizer, made_anew
from bld.tokenization.messages import Use
from bld.tokenization.vocabulary import Vocabulary, named_ids, read_vocabulary
from bld.tokenization.writing import Part, Writer, Written

PLAIN_ROLE = "text"
TURN_BREAK = "\n\n"
SHORT = 1000
"""Template text of so many characters is remembered with its tokens."""


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

    ids_T: int32. span_T2: int32 byte offsets [start, stop) in the content of `segments`, (-1, -1)
    for template tokens. symbol_T: int32, the first supervised symbol that a token spells, -1 if it
    is not supervised. count_T: int32, how many it spells (the bytes of a content token, 1 for a
    supervised end token). symbols_N: uint16. `segments`: the document as this model's template
    writes it; the document's own where that writes contents alone.
    """

    ids_T: np.ndarray
    span_T2: np.ndarray
    symbol_T: np.ndarray
    count_T: np.ndarray
    symbols_N: np.ndarray
    turns: tuple[Turn, ...]
    segments: tuple[Segment, ...] = ()

    def __len__(self) -> int:
        return len(self.ids_T)

    @property
    def content(self) -> bytes:
        """The bytes of all segments, joined."""
        return b"".join(segment.text for segment in self.segments)


class Renderer:
    """Renders documents for one tokenizer.

    `template`: "auto" puts conversations through the tokenizer's chat template if it has one,
    "plain" never does. `template_arguments` are passed to the template. `reasoning` and `tools` say
    what becomes of those, see `Writer`. `end_tokens` are names of further tokens that end a turn;
    the tokenizer's own, the one that the template writes after an answer and those of the
    generation configuration (`model_end_ids`) are found by themselves. `notes` says what the
    tokenizer would change in a text and how that was undone, and what is worth knowing of its
    template. Raises ValueError for a tokenizer that cannot be undone exactly, or without any end
    token.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: str = "auto",
        template_arguments: dict[str, Any] | None = None,
        end_tokens: Sequence[str] = (),
        model_end_ids: Sequence[int | None] = (),
        reasoning: Use | None = None,
        tools: Use | None = None,
        model_start_id: int | None = None,
    ) -> None:
        if getattr(tokenizer, "backend_tokenizer", None) is None:
            raise ValueError(
                f"{type(tokenizer).__name__} has no fast tokenizer (tokenizer.json), which is what "
                "byte offsets are read from; save the model with its fast tokenizer"
            )
        self._tokenizer, self._model_start_id = tokenizer, model_start_id
        self._writer: Writer | None = None
        self._template_ids: dict[str, list[int]] = {}

        specification = json.loads(tokenizer.backend_tokenizer.to_str())
        ends = {tokenizer.eos_token_id, *model_end_ids}
        ends |= {_id_of(name, specification) for name in end_tokens}
        for added in specification["added_tokens"]:
            added["special"] = added["special"] or added["id"] in ends
        vocabulary = read_vocabulary(specification)
        self.content = ContentTokenizer(specification, vocabulary)
        self.notes = [*self.content.notes, *_ordinary_ends(ends, vocabulary)]
        if template == "auto" and tokenizer.chat_template:
            chat_template = ChatTemplate(tokenizer, template_arguments or {})
            self._writer = Writer(chat_template, self._same_start, reasoning, tools)
            self.notes += chat_template.notes
            ends |= self._end_of_answer(self._writer)
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
        return self._writer is not None

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

        Raises ValueError if the tokens do not spell the content, or the chat template refuses the
        conversation or writes it otherwise than its parts.
        """
        builder = _Builder()
        if self._writer and all(segment.role != PLAIN_ROLE for segment in segments):
            self._write(self._writer.write(segments, name), builder, name)
        else:
            self._write_plain(segments, builder, name)
        return builder.build()

    def _write_plain(self, segments: Sequence[Segment], builder: _Builder, name: str) -> None:
        builder.add_template(self._start_ids)
        for number, segment in enumerate(segments):
            where = name if len(segments) == 1 else f"{name}, segment {number} ({segment.role})"
            after = [self._end_id] if segment.supervised else []
            if number < len(segments) - 1:
                after = after + self._turn_break
            self._add_content(builder, segment, after, where)

    def _write(self, written: Written, builder: _Builder, name: str) -> None:
        before = self._template_tokens(written.before, opens=True)
        builder.add_template(before or self._start_ids)
        for number, part in enumerate(written.parts):
            where = name if len(written.parts) == 1 else f"{name}, segment {number} ({part.role})"
            if part.is_turn:
                self._add_turn(builder, part, where)
            else:
                segment = Segment(part.role, part.text.encode(), part.supervised)
                self._add_content(builder, segment, self._template_tokens(part.after), where)

    def _add_turn(self, builder: _Builder, part: Part, where: str) -> None:
        """All that the model writes in its turn: the text up to its first end token is trained on;
        special tokens in it spell nothing."""
        text, place, has_ended = part.text, 0, False
        encoding = self.content.backend.encode(text, add_special_tokens=False)
        for token_id, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True):
            if token_id not in self.vocabulary.special:
                continue
            if text[start:stop] in part.said:
                raise ValueError(
                    f"{where}: its text holds {text[start:stop]!r}, which would be read as a "
                    "special token beside reasoning or calls that are trained on; leave the "
                    "document out"
                )
            has_ended = token_id in self.vocabulary.end
            if start > place or has_ended:
                stretch = Segment(part.role, text[place:start].encode(), part.supervised)
                self._add_content(builder, stretch, [token_id], where)
            else:
                builder.add_template([token_id])
            place = stop
            if has_ended:
                break
        if not (has_ended or part.is_closed):
            raise ValueError(
                f"{where}: the chat template writes no end token after this message, so nothing "
                "says where it ends; name one under end_tokens"
            )
        if place < len(text) and not has_ended:
            stretch = Segment(part.role, text[place:].encode(), part.supervised)
            self._add_content(builder, stretch, [], where)
            place = len(text)
        builder.add_template(self._template_tokens(text[place:] + part.after))

    def _add_content(
        self, builder: _Builder, segment: Segment, after: list[int], where: str
    ) -> None:
        """A segment and the template's tokens behind it, of which the first may end it."""
        ids = self.content.encode(segment.text.decode(), where)
        lengths = [self._lengths[i] for i in ids]
        builder.add_content(segment, ids, lengths, bool(after) and after[0] in self.vocabulary.end)
        builder.add_template(after)

    def _template_tokens(self, text: str, opens: bool = False) -> list[int]:
        """The tokens of template text, which is the same for many documents."""
        key = text if opens else f"\0{text}"
        if len(text) > SHORT:
            return self.content.encode_template(text, opens=opens)
        if key not in self._template_ids:
            self._template_ids[key] = self.content.encode_template(text, opens=opens)
        return self._template_ids[key]

    def _end_of_answer(self, writer: Writer) -> set[int]:
        """The special token that the template writes after an answer, if there is one."""
        question, answer = (
            Segment("user", b"question", False),
            Segment("assistant", b"answer", True),
        )
        written = writer.write([question, answer], "a question and an answer")
        before, after = (part.after for part in written.parts)
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

    def _same_start(self, one: str, other: str) -> int:
        """As far as which character two texts begin with the same tokens."""
        if other.startswith(one):
            return len(one)
        both = [self.content.backend.encode(t, add_special_tokens=False) for t in (one, other)]
        pairs = zip(both[0].ids, both[1].ids, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return both[1].offsets[same - 1][1] if same else 0

    def _find_start_ids(self) -> list[int]:
        """What the tokenizer puts before a text, else its start token, else what the model saw
        between documents (Qwen's configuration names it), else an end token."""
        backend = self.content.backend
        bare = backend.encode("a", add_special_tokens=False).ids
        full = backend.encode("a", add_special_tokens=True).ids
        added = full[: full.index(bare[0])] if len(full) > len(bare) else []
        if added:
            return added
        of_model = self._model_start_id if self._model_start_id in self.vocabulary.special else None
        for token_id in (self._tokenizer.bos_token_id, of_model, self._tokenizer.eos_token_id):
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
        self.segments: list[Segment] = []
        self.symbols = 0

    def add_template(self, ids: list[int]) -> None:
        self._add(ids, [0] * len(ids), is_content=False, supervised=False)

    def add_content(self, segment: Segment, ids: list[int], lengths: list[int], ends: bool) -> None:
        first = len(self.ids)
        self.segments.append(segment)
        self._add(ids, lengths, is_content=True, supervised=segment.supervised)
        if segment.supervised:
            self.turns.append(Turn(first, len(self.ids), self.symbols, segment.text, ends))
            self.symbols += len(segment.text) + 1

    def _add(self, ids: list[int], lengths: list[int], is_content: bool, supervised: bool) -> None:
        self.ids += ids
        self.lengths += lengths
        self.is_content += [is_content] * len(ids)
        self.supervised += [supervised] * len(ids)

    def build(self) -> Rendered:
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
            symbols_N=np.array(supervised_symbols(self.segments), np.uint16),
            turns=tuple(self.turns),
            segments=tuple(self.segments),
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


def _said(file: Path, key: str) -> Any:
    """An entry of a JSON file that may not be there."""
    return json.loads(file.read_text()).get(key) if file.exists() else None


def load_renderer(
    folder: Path,
    template: str = "auto",
    template_arguments: dict[str, Any] | None = None,
    end_tokens: Sequence[str] = (),
    reasoning: Use | None = None,
    tools: Use | None = None,
    trust_remote_code: bool = False,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Renderer:
    """The renderer of a model folder, by its own tokenizer if none is given; its generation
    configuration tells further end tokens, and its configuration what stands before a text where
    the tokenizer has nothing for that.

    Raises ValueError if the tokenizer cannot be used.
    """
    model_end_ids = named_ids(_said(folder / "generation_config.json", "eos_token_id"))
    start_id = _said(folder / "config.json", "bos_token_id")
    own = tokenizer or load_tokenizer(folder, trust_remote_code)
    said = (template, template_arguments, end_tokens, model_end_ids, reasoning, tools, start_id)
    try:
        renderer = Renderer(own, *said)
    except ValueError as error:
        raise ValueError(f"the tokenizer in {folder}: {error}") from error
    if tokenizer is None and (otherwise := made_anew(own, folder, trust_remote_code)):
        renderer.notes.append(f"{otherwise}; load it with PreTrainedTokenizerFast.from_pretrained")
    return renderer
