"""From the rows of a data set to documents, by the columns that hold what.

Text is kept byte for byte, and whatever cannot be kept is an error that says where.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from bld.config.documents import Columns
from bld.documents.conversation import ROLES, make_conversation
from bld.documents.document import Document, make_document
from bld.symbols import REASONING_KEYS

COMMON_FIELDS = {"role", "content"}
FIELDS = {
    "assistant": {"tool_calls", "weight", *REASONING_KEYS},
    # The name is that of the function called, which the call itself says.
    "tool": {"tool_call_id", "name"},
}
"""What a message may have besides, by its role."""


class Row(NamedTuple):
    """One row, where it stands (for errors) and the id that it has if no column gives one."""

    where: str
    default_id: str
    values: Mapping[str, Any]


def row_documents(rows: Iterable[Row], columns: Columns) -> Iterator[Document]:
    """Yield a document per row; raises ValueError, naming the row, for one that holds none."""
    kinds = (columns.text, columns.messages, columns.prompt and columns.response)
    assert sum(map(bool, kinds)) == 1, f"one of text, messages, prompt + response, not {columns}"
    ids: set[bytes] = set()
    for row in rows:
        check_columns(column_names(columns), row.values.keys(), row.where)
        id = _id(row, columns.id, ids) if columns.id else row.default_id
        if columns.messages:
            make = partial(make_conversation, id, *_messages(row, columns))
        else:
            kind = "text" if columns.text else "conversation"
            make = partial(make_document, id, kind, _turns(row, columns))
        try:
            document = make()
        except ValueError as error:
            raise ValueError(f"{row.where}: {error}") from error
        yield document


def _id(row: Row, column: str, ids: set[bytes]) -> str:
    """The row's own id, added to `ids` as a digest of 8 bytes to bound memory."""
    value = row.values[column]
    id = str(value) if isinstance(value, int) else _text(value, f"{row.where}, column {column!r}")
    digest = hashlib.blake2b(id.encode(errors="surrogatepass"), digest_size=8).digest()
    if digest in ids:
        raise ValueError(
            f"{row.where}: the id {id!a} was seen before; ids must be unique: repair the column "
            f"{column!r} or leave it out of the configuration"
        )
    ids.add(digest)
    return id


def _turns(row: Row, columns: Columns) -> list[tuple[str, str]]:
    roles = (("text", columns.text), ("user", columns.prompt), ("assistant", columns.response))
    return [
        (role, _text(row.values[column], f"{row.where}, column {column!r}"))
        for role, column in roles
        if column
    ]


def _messages(row: Row, columns: Columns) -> tuple[list[dict[str, Any]], list[Any]]:
    """The row's messages, and the tools that may be called in them."""
    assert columns.messages
    where = f"{row.where}, column {columns.messages!r}"
    messages = row.values[columns.messages]
    if not isinstance(messages, list):
        raise ValueError(f"{where}: expected a list of messages, found {_shown(messages)}")
    read = [_message(one, f"{where}, message {i}") for i, one in enumerate(messages, 1)]
    if not any(one["role"] == "assistant" and one.get("weight", 1) for one in read):
        raise ValueError(
            f"{where}: the conversation has no assistant turn that is trained on, so there is "
            "nothing to learn from; leave it out"
        )
    return read, _tools(row, columns.tools) if columns.tools else []


def _tools(row: Row, column: str) -> list[Any]:
    given = row.values[column] or []
    try:
        tools = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        tools = None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise ValueError(
            f"{row.where}, column {column!r}: expected a list of descriptions of tools, or that "
            f"as JSON text, found {_shown(given)}"
        )
    return tools


def _message(message: Any, where: str) -> dict[str, Any]:
    """A message in the form that `make_conversation` reads: fields that are null are left out, and
    a content of text parts is joined. Raises ValueError for what is not understood."""
    if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
        raise ValueError(
            f"{where}: expected an object with role and content, found {_shown(message)}"
        )
    said = {key: value for key, value in message.items() if value is not None}
    role, content = message["role"], message["content"]
    if role not in ROLES:
        raise ValueError(
            f"{where}: the role must be one of {', '.join(ROLES)}, found {_shown(role)}"
        )
    if unknown := said.keys() - FIELDS.get(role, set()) - COMMON_FIELDS:
        raise ValueError(
            f"{where}: the field {sorted(unknown)[0]!r} of a message by {role} is not understood, "
            f"expected some of {', '.join(sorted(COMMON_FIELDS | FIELDS.get(role, set())))}; take "
            "it out of the data"
        )
    if isinstance(content, list) and all(_is_text(part) for part in content):
        content = "".join(part["text"] for part in content)
    if content is None and said.get("tool_calls"):
        content = ""
    read = said | {"content": _text(content, where)}
    if (weight := said.get("weight", 1)) not in (0, 1):
        raise ValueError(
            f"{where}: expected a weight of 0 (not trained on) or 1, found {_shown(weight)}"
        )
    names = [name for name in REASONING_KEYS if said.get(name)]
    if len(names) > 1:
        raise ValueError(f"{where}: expected one of {' and '.join(names)}, found both")
    if names:
        read["reasoning_content"] = _text(said[names[0]], f"{where}, {names[0]}")
    return read


def _is_text(part: Any) -> bool:
    return (
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
    )


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where}: expected a string, found {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {value!a:.80}"


def column_names(columns: Columns) -> list[str]:
    """The columns that are read."""
    read = (columns.text, columns.messages, columns.tools, columns.prompt, columns.response)
    names = (*read, columns.id)
    return list(dict.fromkeys(name for name in names if name))


def check_columns(wanted: Iterable[str], found: Iterable[str], where: str) -> None:
    """Raises ValueError for a column that is not there."""
    for name in wanted:
        if name not in found:
            raise ValueError(
                f"{where}: no column {name!r}; the columns here are {', '.join(found) or 'none'}"
            )
