"""From the rows of a data set to documents, by the columns that hold what.

Text is kept byte for byte, and whatever cannot be kept is an error that says where.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from bld.config.documents import Columns
from bld.documents.document import Document, make_document

ROLES = ("system", "user", "assistant")


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
        kind = "text" if columns.text else "conversation"
        turns = _turns(row, columns)
        try:
            document = make_document(id, kind, turns)
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
    if columns.messages:
        where = f"{row.where}, column {columns.messages!r}"
        return _messages(row.values[columns.messages], where)
    roles = (("text", columns.text), ("user", columns.prompt), ("assistant", columns.response))
    return [
        (role, _text(row.values[column], f"{row.where}, column {column!r}"))
        for role, column in roles
        if column
    ]


def _messages(messages: Any, where: str) -> list[tuple[str, str]]:
    if not isinstance(messages, list):
        raise ValueError(f"{where}: expected a list of messages, found {_shown(messages)}")
    turns = []
    for i, message in enumerate(messages, 1):
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            raise ValueError(
                f"{where}, message {i}: expected an object with role and content, "
                f"found {_shown(message)}"
            )
        if message["role"] not in ROLES:
            raise ValueError(
                f"{where}, message {i}: the role must be one of {', '.join(ROLES)}, "
                f"found {_shown(message['role'])}"
            )
        turns.append((message["role"], _text(message["content"], f"{where}, message {i}")))
    if not any(role == "assistant" for role, _ in turns):
        raise ValueError(
            f"{where}: the conversation has no assistant turn, so there is nothing to learn from; "
            "leave it out"
        )
    return turns


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where}: expected a string, found {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {value!a:.80}"


def column_names(columns: Columns) -> list[str]:
    """The columns that are read."""
    names = (columns.text, columns.messages, columns.prompt, columns.response, columns.id)
    return list(dict.fromkeys(name for name in names if name))


def check_columns(wanted: Iterable[str], found: Iterable[str], where: str) -> None:
    """Raises ValueError for a column that is not there."""
    for name in wanted:
        if name not in found:
            raise ValueError(
                f"{where}: no column {name!r}; the columns here are {', '.join(found) or 'none'}"
            )
