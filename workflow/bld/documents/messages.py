"""Messages as people have them, in the form of OpenAI's interface or of ShareGPT, made into those
that `make_conversation` reads."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from bld.documents.conversation import ROLES
from bld.documents.intake import RowError
from bld.symbols import REASONING_KEYS

COMMON_FIELDS = {"role", "content"}
FIELDS = {
    "assistant": {"tool_calls", "weight", *REASONING_KEYS},
    # The name is that of the function called, which the call itself says.
    "tool": {"tool_call_id", "name"},
}
"""What a message may have besides, by its role."""

SHAREGPT_ROLES = {
    **{role: role for role in ROLES},
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("gpt", "bot", "chatbot", "chatgpt", "bing", "bard", "model"), "assistant"),
    **dict.fromkeys(("observation", "function_response"), "tool"),
}
"""Who `from` stands for."""


def read_messages(value: Any, where: str, drop: Collection[str] = ()) -> list[dict[str, Any]]:
    """Messages, also as JSON text; the fields to `drop` are left out. Raises RowError for what is
    not understood."""
    given = value
    if isinstance(value, str):
        try:
            given = json.loads(value)
        except ValueError:
            given = None
    if not isinstance(given, list):
        raise RowError("no list of messages", where, f"expected a list of messages, {found(value)}")
    return [read_message(one, f"{where}, message {i}", drop) for i, one in enumerate(given, 1)]


def read_message(message: Any, where: str, drop: Collection[str] = ()) -> dict[str, Any]:
    """A message: fields that are null are left out, and a content of text parts is joined."""
    if isinstance(message, dict):
        message = {key: value for key, value in message.items() if key not in drop}
        if message.get("from") is not None and message.get("role") is None:
            message = _of_sharegpt(message, where)
    if not isinstance(message, dict) or not (
        message.keys() >= COMMON_FIELDS or ("role" in message and message.get("tool_calls"))
    ):
        raise RowError(
            "a message without role and content",
            where,
            f"expected an object with role and content, or with from and value, {found(message)}",
        )
    said = {key: value for key, value in message.items() if value is not None}
    role = message["role"]
    if role not in ROLES:
        raise RowError(
            "an unknown role",
            where,
            f"the role must be one of {', '.join(ROLES)}, {found(role)}",
        )
    expected = COMMON_FIELDS | FIELDS.get(role, set())
    if unknown := said.keys() - expected:
        raise RowError(
            "a field of a message that is not understood",
            where,
            f"the field {min(unknown)!r} of a message by {role} is not understood, expected some "
            f"of {', '.join(sorted(expected))}; take it out of the data, or name it under "
            "`columns.drop`",
        )
    read = said | {"content": _content(said, where)}
    if (weight := said.get("weight", 1)) not in (0, 1):
        raise RowError(
            "a weight other than 0 and 1",
            where,
            f"expected a weight of 0 (not trained on) or 1, {found(weight)}",
        )
    if not isinstance(calls := said.get("tool_calls", []), list):
        raise RowError("a call that is none", where, f"expected a list of calls, {found(calls)}")
    names = [name for name in REASONING_KEYS if said.get(name)]
    if len(names) > 1:
        raise RowError(
            "reasoning said twice", where, f"expected one of {' and '.join(names)}, found both"
        )
    if names:
        read["reasoning_content"] = text_of(said[names[0]], f"{where}, {names[0]}")
    return read


def _content(said: dict[str, Any], where: str) -> str:
    content = said.get("content")
    if content is None and said.get("tool_calls"):
        return ""
    if not isinstance(content, list):
        return text_of(content, where)
    for part in content:
        if not (isinstance(part, dict) and part.get("type") == "text"):
            raise RowError(
                "a part of a content that is no text",
                where,
                f"expected a string or parts of type text, {found(part)}",
            )
    return "".join(text_of(part.get("text"), where) for part in content)


def _of_sharegpt(message: dict[str, Any], where: str) -> dict[str, Any]:
    """A message of `from` and `value`; a call stands in a message of its own, as JSON text."""
    rest = {key: value for key, value in message.items() if key not in ("from", "value")}
    who: Any = message["from"]
    value: Any = message.get("value")
    if who == "function_call":
        try:
            calls = json.loads(value)
        except (TypeError, ValueError):
            raise RowError(
                "a call that is none", where, f"expected a call as JSON text, {found(value)}"
            ) from None
        calls = calls if isinstance(calls, list) else [calls]
        tool_calls = [{"type": "function", "function": call} for call in calls]
        return rest | {"role": "assistant", "content": None, "tool_calls": tool_calls}
    role = SHAREGPT_ROLES.get(who, who) if isinstance(who, str) else who
    return rest | {"role": role, "content": value}


def text_of(value: Any, where: str) -> str:
    """A text as it is."""
    if not isinstance(value, str):
        reason = "null where text is expected" if value is None else "something else than text"
        raise RowError(reason, where, f"expected a string, {found(value)}")
    return value


def found(value: Any) -> str:
    """A value for an error."""
    return f"found {type(value).__name__} {value!a:.80}"
