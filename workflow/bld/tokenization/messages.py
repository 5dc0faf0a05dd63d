"""The messages of a conversation, as chat templates take them, from the segments that hold it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bld.symbols import REASONING, TOOL_CALLS, TOOLS, Segment

Use = Literal["train", "context", "drop"]
"""What becomes of reasoning, or of tools: trained on, shown, or neither."""


@dataclass(frozen=True)
class Message:
    """One message. `calls`: the tools that an assistant calls, in the form of OpenAI's interface;
    `answers`: which call a tool's result is of. `trained`: whether it is trained on."""

    role: str
    content: str
    trained: bool = False
    reasoning: str = ""
    calls: tuple[dict[str, Any], ...] = ()
    answers: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Conversation:
    """Messages, and the tools that may be called in them."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it is contents by roles and nothing else."""
        return not self.tools and not any(m.reasoning or m.calls for m in self.messages)

    def until(self, end: int) -> Conversation:
        """Its first messages."""
        return replace(self, messages=self.messages[:end])

    def with_message(self, number: int, **changes: Any) -> Conversation:
        """The same with one message changed."""
        messages = list(self.messages)
        messages[number] = replace(messages[number], **changes)
        return replace(self, messages=tuple(messages))

    def with_contents(self, contents: Iterable[str]) -> Conversation:
        """The same with other contents."""
        pairs = zip(self.messages, contents, strict=True)
        return replace(self, messages=tuple(replace(m, content=c) for m, c in pairs))


def conversation_of(
    segments: Sequence[Segment], name: str, reasoning: Use | None, tools: Use | None
) -> Conversation:
    """The conversation that segments hold, without what is to be dropped.

    Without tools a message that did nothing but call them is left out as well. Raises ValueError,
    naming the document, if the segments are not the parts of messages in their order.
    """
    messages: list[Message] = []
    described: list[dict[str, Any]] = []
    thought = ""
    waiting: list[dict[str, Any]] = []
    for number, segment in enumerate(segments):
        text, where = segment.text.decode(), f"{name}, segment {number} ({segment.role})"
        if thought and segment.role != "assistant":
            raise ValueError(f"{where}: expected what the assistant says after its reasoning")
        if segment.role == TOOLS:
            if number:
                raise ValueError(f"{where}: the tools stand before all messages")
            described = _objects(text, where)
        elif segment.role == REASONING:
            thought = text
        elif segment.role == TOOL_CALLS:
            if not messages or messages[-1].role != "assistant" or messages[-1].calls:
                raise ValueError(f"{where}: expected the assistant's message before its calls")
            waiting = _objects(text, where)
            messages[-1] = replace(messages[-1], calls=tuple(waiting))
        elif segment.role == "tool":
            messages.append(Message("tool", text, answers=_call(waiting.pop(0)) if waiting else ()))
        else:
            messages.append(Message(segment.role, text, segment.supervised, thought))
            thought = ""
    if thought:
        raise ValueError(f"{name}: its last reasoning has no message of the assistant behind it")
    if reasoning == "drop":
        messages = [replace(message, reasoning="") for message in messages]
    if tools == "drop":
        described = []
        messages = [
            replace(message, calls=())
            for message in messages
            if message.role != "tool"
            and (message.content or message.reasoning or not message.calls)
        ]
    return Conversation(tuple(messages), tuple(described))


def _call(call: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    named = {"tool_call_id": call.get("id"), "name": call["function"]["name"]}
    return tuple((key, value) for key, value in named.items() if value is not None)


def _objects(text: str, where: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{where}: expected a JSON list of objects, found {text[:80]!a}")
    return found
