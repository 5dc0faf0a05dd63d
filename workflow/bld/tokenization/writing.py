"""A conversation as a model's chat template writes it, in pieces: what is content, and what the
template puts around it.

The template is run with stand-ins for the contents and its text is cut there, so that contents keep
their bytes and every run sees the same text around them. A message that is trained on together with
its reasoning or its calls is left as it is: all that the template writes from where the model
begins to answer is what it has to learn.

Templates read what they write: they drop the reasoning of earlier turns, or look for it in a
content. So the pieces are put together again and compared with what the template makes of the real
conversation. They may differ in the spaces round contents, which are kept; a difference in the
context is taken over from the template; any other is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from bld.arrays import around_difference
from bld.symbols import Segment
from bld.tokenization.chat_template import (
    LEAVE_OUT,
    REFUSALS,
    ChatTemplate,
    Form,
    refused,
    shows_call,
    stand_in,
)
from bld.tokenization.messages import Conversation, Use, conversation_of


class Part(NamedTuple):
    """A stretch of content, and the template's text `after` it.

    `is_turn`: all that the model writes in its turn, up to its first end token, and not the content
    of a message alone; `said` is then what it was made of. `is_closed`: whether no end token is
    needed to tell where it ends. `served`: of an answer that is trained on, the template's text
    between the part before and the answer of a model that is to answer, where it is another than in
    the conversation.
    """

    text: str
    role: str
    supervised: bool
    after: str
    is_turn: bool = False
    is_closed: bool = True
    said: str = ""
    served: str | None = None


class Written(NamedTuple):
    """A conversation: the template's text before its first part, and its parts. `hidden`: how many
    answers that are trained on have reasoning that the template does not show."""

    before: str
    parts: list[Part]
    hidden: int = 0

    def joined(self) -> str:
        """The text of all."""
        return self.before + "".join(part.text + part.after for part in self.parts)


class _Span(NamedTuple):
    """Where a message, by its number, stands in the text that holds stand-ins."""

    start: int
    stop: int
    message: int
    is_turn: bool = False
    is_closed: bool = True


class Writer:
    """Writes conversations with one chat template. `same_start`: as far as which character two
    texts begin with the same tokens. `reasoning` and `tools`: what becomes of them; with None what
    the template shows is trained on where its message is."""

    def __init__(
        self,
        template: ChatTemplate,
        same_start: Callable[[str, str], int],
        reasoning: Use | None = None,
        tools: Use | None = None,
    ) -> None:
        self._template, self._same_start = template, same_start
        self._reasoning, self._tools = reasoning, tools
        self._known_parts: dict[tuple[tuple[str, bool], ...], Written] = {}

    def write(self, segments: Sequence[Segment], name: str) -> Written:
        """Write one document; `name` stands in the errors.

        Raises ValueError if the template refuses the conversation, does not write every content
        once, in order, or writes the conversation otherwise than in pieces.
        """
        conversation = conversation_of(segments, name, self._reasoning, self._tools)
        own, form = self._template.own(conversation, name)
        if conversation.is_plain:
            written = self._known(conversation)
            if written and same_but_for_spaces(written, own):
                return written
        writing = _Writing(self._template, self._same_start, conversation, form, own, name)
        written = writing.write(self._reasoning, self._tools)
        if conversation.is_plain and not writing.repaired:
            self._known_parts[_roles(conversation)] = written
        return written

    def _known(self, conversation: Conversation) -> Written | None:
        """A conversation of contents alone, in the pieces of one with the same roles."""
        known = self._known_parts.get(_roles(conversation))
        if known is None:
            return None
        pairs = zip(conversation.messages, known.parts, strict=True)
        return known._replace(parts=[part._replace(text=m.content) for m, part in pairs])


class _Writing:
    """One conversation on its way: the text that holds stand-ins, and where what stands in it.

    `own` is what the template makes of the conversation. `repaired`: whether its pieces are of this
    conversation alone.
    """

    def __init__(
        self,
        template: ChatTemplate,
        same_start: Callable[[str, str], int],
        conversation: Conversation,
        form: Form,
        own: str,
        name: str,
    ) -> None:
        self._same_start = same_start
        self._template, self._form, self._own, self._name = template, form, own, name
        self._conversation = conversation
        self.repaired = False

    def write(self, reasoning: Use | None, tools: Use | None) -> Written:
        """The conversation in pieces, put right where the template reads its contents."""
        turns = self._turns(reasoning, tools)
        self._mark(turns)
        self._check_shown(tools, turns)
        hidden = {i for i in turns if not self._shows_reasoning(i)}
        if hidden and reasoning == "train":
            raise ValueError(
                f"{self._name}: the chat template does not write the reasoning of message "
                f"{min(hidden)}, which `reasoning: train` asks for; use a template that does"
            )
        if hidden:
            turns -= {i for i in hidden if not self._conversation.messages[i].calls}
            self._mark(turns)
        spans = self._spans(turns, reasoning, tools)
        written = self._cut(spans)
        if not same_but_for_spaces(written, self._own):
            self.repaired = True
            written = self._repair(spans, written)
        if not same_but_for_spaces(written, self._own):
            raise self._differs(self._own, written.joined())
        return self._with_served(written, spans, reasoning)._replace(hidden=self._hidden())

    def _run(self, conversation: Conversation, opens_answer: bool = False) -> str:
        try:
            return self._template.text(conversation, self._form, opens_answer)
        except REFUSALS as error:
            raise refused(conversation, error, self._name) from error

    def _turns(self, reasoning: Use | None, tools: Use | None) -> set[int]:
        """The messages that are trained on together with what stands beside their content."""
        return {
            number
            for number, message in enumerate(self._conversation.messages)
            if message.trained
            and (
                (message.reasoning and reasoning != "context")
                or (message.calls and tools != "context")
            )
        }

    def _mark(self, turns: Collection[int]) -> None:
        """Put stand-ins for all contents but those of turns and the empty ones beside calls."""
        messages = self._conversation.messages
        self._marked = self._conversation.with_contents(
            message.content
            if number in turns or (message.calls and not message.content)
            else stand_in(number)
            for number, message in enumerate(messages)
        )
        self._text = self._run(self._marked)

    def _marks(self) -> list[tuple[int, int]]:
        """The messages with stand-ins, and where those stand."""
        found, last = [], -1
        for number, message in enumerate(self._marked.messages):
            mark = stand_in(number)
            if message.content != mark:
                continue
            place = self._text.find(mark)
            if place <= last or self._text.count(mark) > 1:
                raise ValueError(
                    f"{self._name}: the chat template does not write the content of message "
                    f"{number} ({message.role}) exactly once and in order, so its bytes cannot be "
                    f"located. {LEAVE_OUT}"
                )
            found.append((number, place))
            last = place
        return found

    def _shows_reasoning(self, number: int) -> bool:
        """Whether what a message thinks stands between the contents around it."""
        thought = self._conversation.messages[number].reasoning.strip()
        start, stop = self._around(number)
        return thought in self._text[start:stop]

    def _hidden(self) -> int:
        """How many messages that are trained on have reasoning that is not shown in its place."""
        return sum(
            not self._shows_reasoning(number)
            for number, message in enumerate(self._conversation.messages)
            if message.trained and message.reasoning
        )

    def _with_served(
        self, written: Written, spans: Sequence[_Span], reasoning: Use | None
    ) -> Written:
        """The same, with what stands before answers of a model that is to answer."""
        parts, before = [], written.before
        for place, (span, part) in enumerate(zip(spans, written.parts, strict=True)):
            is_behind_thought = reasoning == "context" and span.is_turn
            if part.supervised and not is_behind_thought:
                served = self._served(span.message, spans[place - 1] if place else None)
                part = part._replace(served=served if served != before else None)
            parts.append(part)
            before = part.after
        return written._replace(parts=parts)

    def _served(self, number: int, previous: _Span | None) -> str | None:
        """What the template writes behind the part before for a model that is to write a message;
        None if it refuses the conversation up to there, or writes that part otherwise."""
        try:
            text = self._template.text(self._marked.until(number), self._form, opens_answer=True)
        except REFUSALS:
            return None
        if previous is None:
            return text
        if not previous.is_turn:
            return text.rpartition(stand_in(previous.message))[2]
        before = self._text[: previous.stop]
        return text.removeprefix(before) if text.startswith(before) else None

    def _around(self, number: int) -> tuple[int, int]:
        """The range between the stand-ins before and after a message that has none."""
        marks = self._marks()
        before = [place + len(stand_in(i)) for i, place in marks if i < number]
        after = [place for i, place in marks if i > number]
        return max(before, default=0), min(after, default=len(self._text))

    def _spans(
        self, turns: Collection[int], reasoning: Use | None, tools: Use | None
    ) -> list[_Span]:
        spans = [_Span(place, place + len(stand_in(i)), i) for i, place in self._marks()]
        for number in turns:
            message = self._conversation.messages[number]
            opening = self._run(self._marked.until(number), opens_answer=True)
            start, stop = self._around(number)
            start = max(start, self._same_start(opening, self._text[:stop]))
            whole = self._run(self._marked.until(number + 1))
            if is_closed := self._text.startswith(whole):
                stop = len(whole)
            if message.reasoning and reasoning == "context":
                thought = message.reasoning.strip()
                if thought in self._text[start:stop]:
                    start = self._text.index(thought, start) + len(thought)
            if message.calls and tools == "context":
                silent = self._marked.with_message(number, calls=()).until(number + 1)
                said = self._run(silent)
                stop, is_closed = self._same_start(said, self._text[:stop]), True
            spans.append(_Span(start, stop, number, True, is_closed))
        return sorted(spans)

    def _cut(self, spans: Sequence[_Span]) -> Written:
        stops = [span.start for span in spans[1:]] + [len(self._text)]
        parts = []
        for span, stop in zip(spans, stops, strict=True):
            message = self._conversation.messages[span.message]
            text = self._text[span.start : span.stop] if span.is_turn else message.content
            after = self._text[span.stop : max(stop, span.stop)]
            said = "\n".join(
                [message.reasoning, message.content, json.dumps(message.calls, ensure_ascii=False)]
            )
            flags = span.is_turn, span.is_closed
            parts.append(Part(text, message.role, message.trained, after, *flags, said))
        return Written(self._text[: spans[0].start] if spans else self._text, parts)

    def _repair(self, spans: Sequence[_Span], written: Written) -> Written:
        """Take over what the template makes of the contents that it reads, each by itself.

        Of a content that is trained on the template may change what stands before it; other ones
        become what the template makes of them.
        """
        pieces = [written.before, *(part.after for part in written.parts)]
        texts = [part.text for part in written.parts]
        stops = [0, *(span.stop for span in spans)]
        starts = [*(span.start for span in spans), len(self._text)]
        for place, span in enumerate(spans):
            message = self._conversation.messages[span.message]
            start, stop = stops[place], starts[place + 1]
            real = self._between(start, stop, span.message)
            before, after = self._text[start : span.start], self._text[span.stop : stop]
            ours = Written(before, [Part(message.content, message.role, False, after)])
            if span.is_turn or real is None or same_but_for_spaces(ours, real):
                continue
            if real.endswith(message.content + after):
                pieces[place] = real.removesuffix(message.content + after)
            elif message.trained:
                raise self._differs(real, ours.joined())
            elif real.startswith(before) and real.endswith(after):
                texts[place] = real[len(before) :].removesuffix(after)
            elif not message.content:
                pieces[place], pieces[place + 1] = real, ""
        changed = zip(written.parts, texts, pieces[1:], strict=True)
        return Written(pieces[0], [p._replace(text=t, after=after) for p, t, after in changed])

    def _between(self, start: int, stop: int, number: int) -> str | None:
        """What the template writes between two places if one message has its own content; None if
        other places change with it."""
        content = self._conversation.messages[number].content
        mixed = self._run(self._marked.with_message(number, content=content))
        head, tail = self._text[:start], self._text[stop:]
        if not mixed.startswith(head) or not mixed[len(head) :].endswith(tail):
            return None
        return mixed[len(head) :].removesuffix(tail)

    def _check_shown(self, tools: Use | None, turns: Collection[int]) -> None:
        """Raises ValueError for tools, calls, or contents beside them, that the template leaves
        out."""
        if tools != "context":
            for tool in self._conversation.tools:
                if str(name := tool.get("function", tool).get("name")) not in self._own:
                    raise self._left_out(f"the tool {name!r}")
            for number, message in enumerate(self._conversation.messages):
                for call in message.calls:
                    if not shows_call(call, self._own):
                        named = call["function"]["name"]
                        raise self._left_out(f"the call of {named!r} in message {number}")
        for number in turns:
            start, stop = self._around(number)
            content = self._conversation.messages[number].content
            if content.strip() not in self._text[start:stop]:
                raise self._left_out(f"the content of message {number} in its place")

    def _left_out(self, what: str) -> ValueError:
        return ValueError(
            f"{self._name}: the chat template does not write {what}; set `tools: drop` for the "
            "model, use a template that knows tools, or leave such documents out"
        )

    def _differs(self, expected: str, found: str) -> ValueError:
        """Tells both texts around the first place where they differ."""
        theirs, ours = around_difference(expected, found, 40)
        return ValueError(
            f"{self._name}: the chat template reads what it writes: of the conversation it makes "
            f"{theirs!r}, and of its parts {ours!r}. If it rewrites answers once others follow "
            "them, set `turn_by_turn: true` for the corpus; else use a template that keeps them, "
            "give the model `template: plain` or leave such documents out"
        )


def same_but_for_spaces(written: Written, text: str) -> bool:
    """Whether the pieces make this text, but for spaces at both ends of contents that the text
    lacks."""
    if written.joined() == text:
        return True
    pattern = re.escape(written.before)
    for part in written.parts:
        pattern += re.escape(part.text) if part.is_turn else _with_fewer_spaces(part.text)
        pattern += re.escape(part.after)
    return re.fullmatch(pattern, text) is not None


def _with_fewer_spaces(text: str) -> str:
    core = text.strip()
    if not core:
        return rf"\s{{0,{len(text)}}}"
    left = len(text) - len(text.lstrip())
    right = len(text) - len(text.rstrip())
    return rf"\s{{0,{left}}}{re.escape(core)}\s{{0,{right}}}"


def _roles(conversation: Conversation) -> tuple[tuple[str, bool], ...]:
    return tuple((message.role, message.trained) for message in conversation.messages)
