"""A document rendered for one model: token ids, and the content bytes that each of them spells.

Models wrap the same content in different templates. What is compared between models is content
alone, so template and content are tokenised apart: no token ever straddles the two, template tokens
have no bytes, and content tokens, concatenated, are the content, byte for byte. That is checked for
every document. Where a model is trained on what its template writes of reasoning and calls, that is
content too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from itertools import compress, count, takewhile
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from bld.symbols import Segment
from bld.tokenization.chat_template import ChatTemplate
from bld.tokenization.content import ContentTokenizer
from bld.tokenization.loading import load_tokenizer, made_anew
from bld.tokenization.messages import Use
from bld.tokenization.rendered import Builder, Rendered, Turn
from bld.tokenization.tally import HIDDEN, SERVED, STRADDLES, UNENDED, Tally
from bld.tokenization.vocabulary import Vocabulary, named_ids, read_vocabulary
from bld.tokenization.writing import Part, Writer, Written

PLAIN_ROLE = "text"
TURN_BREAK = "\n\n"
SHORT = 1000
"""Template text of so many characters is remembered with its tokens."""
HEAD = 24
"""So many characters on both sides tell whether a content's first tokens would be others behind
template text."""
REMEMBERED = 1 << 16


class Renderer:
    """Renders documents for one tokenizer.

    `template`: "auto" puts conversations through the tokenizer's chat template if it has one,
    "plain" never does. `template_arguments` are passed to the template. `reasoning` and `tools` say
    what becomes of those, see `Writer`. `prompt`: "served" puts answers behind what the template
    writes for a model that is to answer, "conversation" behind what it writes in a conversation.
    `end_tokens` are names of further tokens that end a turn;
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
        prompt: str = "conversation",
    ) -> None:
        if getattr(tokenizer, "backend_tokenizer", None) is None:
            raise ValueError(
                f"{type(tokenizer).__name__} has no fast tokenizer (tokenizer.json), which is what "
                "byte offsets are read from; save the model with its fast tokenizer"
            )
        self._tokenizer, self._model_start_id = tokenizer, model_start_id
        self.made_anew: Callable[[], str | None] | None = None
        self._is_served, self._tally = prompt == "served", Tally()
        self._writer: Writer | None = None
        self._template_ids: dict[str, list[int]] = {}
        self._meets = lru_cache(REMEMBERED)(self._tokens_differ)

        specification = json.loads(tokenizer.backend_tokenizer.to_str())
        ends = {tokenizer.eos_token_id, *model_end_ids}
        ends |= {_id_of(name, specification) for name in end_tokens}
        has_template = bool(tokenizer.chat_template)
        chat_template = ChatTemplate(tokenizer, template_arguments or {}) if has_template else None
        marks = chat_template.role_marks() if chat_template else set()
        for added in specification["added_tokens"]:
            added["special"] = added["special"] or added["id"] in ends | marks
        vocabulary = read_vocabulary(specification)
        self.content = ContentTokenizer(specification, vocabulary)
        self._notes = [*self.content.notes, *_ordinary_ends(ends, vocabulary)]
        if template == "auto" and chat_template:
            self._writer = Writer(chat_template, self._same_start, reasoning, tools)
            self._notes += chat_template.notes
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

    @cached_property
    def notes(self) -> list[str]:
        """Remarks, in words for the user. For that on its folder the tokenizer is
        loaded once more."""
        otherwise = self.made_anew() if self.made_anew else None
        cure = "; load it with PreTrainedTokenizerFast.from_pretrained"
        return [*self._notes, *([otherwise + cure] if otherwise else [])]

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

    def take_tally(self) -> Tally:
        """Counts of what is worth telling of the documents rendered since this was last called."""
        tally, self._tally = self._tally, Tally()
        return tally

    def told(self) -> list[str]:
        """The same in words."""
        return self.take_tally().notes

    def render(self, segments: Sequence[Segment], name: str) -> Rendered:
        """Render one document; `name` stands in the errors.

        Raises ValueError if the tokens do not spell the content, or the chat template refuses the
        conversation or writes it otherwise than its parts.
        """
        builder = Builder()
        if self._writer and all(segment.role != PLAIN_ROLE for segment in segments):
            self._write(self._writer.write(segments, name), builder, name)
        else:
            self._write_plain(segments, builder, name)
        return builder.build(name)

    def _write_plain(self, segments: Sequence[Segment], builder: Builder, name: str) -> None:
        builder.add_template(self._start_ids)
        for number, segment in enumerate(segments):
            where = name if len(segments) == 1 else f"{name}, segment {number} ({segment.role})"
            after = [self._end_id] if segment.supervised else []
            if number < len(segments) - 1:
                after = after + self._turn_break
            self._add_content(builder, segment, after, where)

    def _write(self, written: Written, builder: Builder, name: str) -> None:
        parts = written.parts
        prompt, own = self._prompt(written.before, parts[0] if parts else None)
        before, opening = self._template_tokens(prompt, opens=True), self._template_tokens(own)
        builder.add_template([*(before or self._start_ids), *opening], len(opening))
        for number, (part, following) in enumerate(zip(parts, [*parts[1:], None], strict=True)):
            where = name if len(parts) == 1 else f"{name}, segment {number} ({part.role})"
            if part.is_turn:
                self._add_turn(builder, part, following, where)
            else:
                segment = Segment(part.role, part.text.encode(), part.supervised)
                ids, opening = self._after(part.after, following)
                self._add_content(builder, segment, ids, where, len(opening))
        self._count(written, builder.turns)

    def _prompt(self, text: str, part: Part | None) -> tuple[str, str]:
        """Template text before a part: what the model is given, and what it has to write itself
        before the content."""
        if part is None or part.served is None or not self._is_served:
            return text, ""
        return part.served, text.removeprefix(part.served) if text.startswith(part.served) else ""

    def _after(self, text: str, part: Part | None, left: str = "") -> tuple[list[int], list[int]]:
        """The tokens of the template before a part, and those that the model has to write, which
        are the last of them; `left` stands before all."""
        prompt, own = self._prompt(text, part)
        opening = self._template_tokens(own)
        return [*self._template_tokens(left + prompt), *opening], opening

    def _add_turn(self, builder: Builder, part: Part, following: Part | None, where: str) -> None:
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
                self._add_content(builder, stretch, [token_id] if has_ended else [], where)
            if not has_ended:
                builder.add_template([token_id], 1)
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
        after, opening = self._after(part.after, following, text[place:])
        builder.add_template(after, len(opening))

    def _add_content(
        self,
        builder: Builder,
        segment: Segment,
        after: list[int],
        where: str,
        opening: int = 0,
    ) -> None:
        """A segment and the template's tokens behind it, of which the first special one may end
        it; the last ones are the `opening` of the next segment."""
        ids = self.content.encode(segment.text.decode(), where)
        lengths = [self._lengths[i] for i in ids]
        closing = _until_special(after, self.vocabulary.special)
        has_end = bool(closing) and closing[-1] in self.vocabulary.end
        builder.add_content(segment, ids, lengths, len(closing) if has_end else 0)
        builder.add_template(after, opening)

    def _count(self, written: Written, turns: Sequence[Turn]) -> None:
        """Count what is worth telling of a document."""
        seen, found = self._tally.seen, self._tally.found
        answers = sum(part.supervised for part in written.parts)
        seen["answers"] += answers
        if written.hidden:
            found["answers", HIDDEN] += written.hidden
        if unended := answers - sum(turn.end is not None for turn in turns):
            found["answers", UNENDED] += unended
        before = written.before
        for part in written.parts:
            if part.served is not None and not self._is_served:
                found["answers", SERVED.format(before, part.served)] += 1
            seen["contents"] += 1
            if (tail := self._ordinary_end(before)) and self._meets(tail, part.text[:HEAD]):
                found["contents", STRADDLES.format(tail)] += 1
            before = part.after

    def _tokens_differ(self, left: str, right: str) -> bool:
        """Whether two texts have other tokens together than one behind the other."""
        both, one, other = self.content.encode_each([left + right, left, right])
        return both != one + other

    def _ordinary_end(self, text: str) -> str:
        """The end of template text, behind its last special token."""
        ids = self._template_tokens(text[-4 * HEAD :])
        special = (token in self.vocabulary.special for token in reversed(ids))
        ordinary = ids[len(ids) - next(compress(count(), special), len(ids)) :]
        spelt = b"".join(self.vocabulary.token_bytes[token] or b"" for token in ordinary)
        return spelt.decode(errors="ignore")

    def _template_tokens(self, text: str, opens: bool = False) -> list[int]:
        """The tokens of template text, which is the same for many documents."""
        key = text if opens else f"\0{text}"
        if len(text) > SHORT:
            return self.content.encode_template(text, opens=opens)
        if key not in self._template_ids:
            self._template_ids[key] = self.content.encode_template(text, opens=opens)
        return self._template_ids[key]

    def _end_of_answer(self, writer: Writer) -> set[int]:
        """The first special token that the template writes after an answer, if there is one."""
        question, answer = (
            Segment("user", b"question", False),
            Segment("assistant", b"answer", True),
        )
        written = writer.write([question, answer], "a question and an answer")
        after = written.parts[-1].after
        special = self.content.vocabulary.special
        closing = _until_special(self.content.encode_template(after), special)
        if not closing:
            self._notes.append(
                f"the chat template writes {after!r} after an answer, which holds no special "
                "token: no student learns to end an answer; if it holds a token that should end "
                "one, name it under end_tokens"
            )
        elif len(closing) > 1:
            self._notes.append(
                f"the chat template writes {after!r} after an answer, text before the end token: "
                "students learn both by cross-entropy, and ends are not compared with a teacher's"
            )
        return set(closing[-1:])

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


def _until_special(ids: Sequence[int], special: Container[int]) -> Sequence[int]:
    """The tokens up to the first special one, with it; none if there is none."""
    return next((ids[: i + 1] for i, token in enumerate(ids) if token in special), ())


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
    prompt: str = "conversation",
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
    of_model = template, template_arguments, end_tokens, model_end_ids
    said = *of_model, reasoning, tools, start_id, prompt
    try:
        renderer = Renderer(own, *said)
    except ValueError as error:
        raise ValueError(f"the tokenizer in {folder}: {error}") from error
    if tokenizer is None:
        renderer.made_anew = partial(made_anew, own, folder, trust_remote_code)
    return renderer
