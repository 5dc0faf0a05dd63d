"""Conversations as documents: messages with reasoning and calls, and a document for every answer
where what was thought is not shown again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from bld.documents.document import Document, encode
from bld.documents.intake import RowError
from bld.symbols import REASONING, TOOL_CALLS, TOOLS, Segment

ROLES = ("system", "developer", "user", "assistant", "tool")


def make_conversation(
    id: str,
    messages: Iterable[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] = (),
    group: str | None = None,
) -> Document:
    """A document of messages in the form of OpenAI's interface: `role` and `content` and, of an
    assistant, `reasoning_content`, `tool_calls` and `weight`, with which 0 is not trained on;
    `tool_call_id` of a tool. `tools` are descriptions of those that may be called.

    `group` is by default the digest of all that is said. Raises RowError for a message that is
    none, and for results that do not stand in the order of the calls.
    """
    where = f"document {id!a}"
    segments = [Segment(TOOLS, _json(tools, where), False)] if tools else []
    calls: list[Mapping[str, Any]] = []
    for number, message in enumerate(messages):
        at = f"{where}, message {number}"
        role, content = message["role"], message.get("content") or ""
        if role not in ROLES:
            raise RowError(
                "an unknown role", at, f"the role must be one of {', '.join(ROLES)}, found {role!a}"
            )
        is_trained = role == "assistant" and message.get("weight", 1) != 0
        if thought := message.get("reasoning_content"):
            segments.append(Segment(REASONING, encode(thought, at), is_trained))
        segments.append(Segment(role, encode(content, at), is_trained))
        if message.get("tool_calls"):
            calls = [_with_arguments(call, at) for call in message["tool_calls"]]
            segments.append(Segment(TOOL_CALLS, _json(calls, at), is_trained))
        if role == "tool" and calls:
            call, *calls = calls
            _check_order(message, call, at)
    if group is None:
        group = hashlib.sha256(b"".join(segment.text for segment in segments)).hexdigest()
    return Document(id, "conversation", group, segments)


def turn_by_turn(document: Document, every: bool | None = None) -> Iterator[Document]:
    """The document or, where answers are trained on in several turns, one for each of those turns,
    with all before it as context.

    So a model that is shown no reasoning but that of the turn at hand sees in training what it is
    served. A turn goes from a user's message to the next. `every`: None does so where a turn before
    the last one has reasoning that is trained on, True for all conversations, False never. The
    documents are of one group.
    """
    turns = _turns(document.segments)
    trained = [
        number
        for number, (start, stop) in enumerate(turns)
        if any(segment.supervised for segment in document.segments[start:stop])
    ]
    thinks = any(
        segment.role == REASONING and segment.supervised
        for start, stop in turns[: trained[-1] if trained else 0]
        for segment in document.segments[start:stop]
    )
    if len(trained) < 2 or not (thinks if every is None else every):
        yield document
        return
    for number in trained:
        start, stop = turns[number]
        before = [segment._replace(supervised=False) for segment in document.segments[:start]]
        segments = [*before, *document.segments[start:stop]]
        yield replace(document, id=f"{document.id}#{number}", segments=segments)


def _turns(segments: Sequence[Segment]) -> list[tuple[int, int]]:
    """The ranges of segments from one user's message to the next."""
    starts = [number for number, segment in enumerate(segments) if segment.role == "user"]
    edges = sorted({0, *starts, len(segments)})
    return list(pairwise(edges))


def _with_arguments(call: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A call whose arguments are an object, which OpenAI's interface writes as JSON text."""
    try:
        function = dict(call["function"])
        arguments = function["arguments"]
        if isinstance(arguments, str):
            arguments = json.loads(arguments or "{}")
        if not isinstance(arguments, dict) or not isinstance(function["name"], str):
            raise TypeError
    except (KeyError, TypeError, ValueError) as error:
        raise RowError(
            "a call that is none",
            where,
            "expected a call with a function's name and its arguments as an object, found "
            f"{call!a:.200}",
        ) from error
    return {**call, "function": function | {"arguments": arguments}}


def _check_order(message: Mapping[str, Any], call: Mapping[str, Any], where: str) -> None:
    answered = message.get("tool_call_id")
    if None not in (answered, call.get("id")) and answered != call["id"]:
        raise RowError(
            "results in another order than their calls",
            where,
            f"expected the result of call {call['id']!a}, found that of {answered!a}; results "
            "stand in the order of the calls",
        )


def _json(value: Any, where: str) -> bytes:
    return encode(json.dumps(value, ensure_ascii=False), where)
