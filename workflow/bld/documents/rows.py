"""From the rows of a data set to documents, by the columns that hold what.

Text is kept byte for byte, and whatever cannot be kept is an error that says where.
"""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from itertools import dropwhile, takewhile
from typing import Any, NamedTuple

from bld.config.documents import Columns
from bld.documents.conversation import make_conversation
from bld.documents.document import Document, id_digest, make_document
from bld.documents.formats import Format, column_names, columns_of, format_of, is_empty, told
from bld.documents.intake import Intake, RowError
from bld.documents.messages import found, read_message, read_messages, text_of


class Row(NamedTuple):
    """One row of a file, where it stands there, and the id that it has if no column gives one.

    `names` are those of all columns of the file, of which `values` may lack some that nobody reads.
    """

    file: str
    place: str
    default_id: str
    values: Mapping[str, Any] = {}
    names: Sequence[str] = ()

    @property
    def where(self) -> str:
        """For errors."""
        return f"{self.file}, {self.place}" if self.place else self.file


def row_documents(
    rows: Iterable[Row | RowError], columns: Columns, intake: Intake
) -> Iterator[Document]:
    """Yield a document per row; one that holds none, or is a RowError, is left to the intake.

    Where `columns` do not say what holds the texts, the first row of a file that shows a known
    format decides for the file.
    """
    ids: set[bytes] = set()
    formats: dict[str, Format] = {}
    for row in rows:
        try:
            if isinstance(row, RowError):
                raise row
            document, how = _document(row, columns, formats, ids)
        except RowError as bad:
            intake.skip(bad)
        else:
            intake.read(*how)
            yield document


def _document(
    row: Row, columns: Columns, formats: dict[str, Format], ids: set[bytes]
) -> tuple[Document, tuple[str, set[str]]]:
    """The document, how it was read, and the columns that were not."""
    name = None
    if not columns.are_named:
        if row.file not in formats and (shown := format_of(row.values)):
            formats[row.file] = shown
        format = formats.get(row.file)
        if format:
            _check_columns([*format.shown_by, *column_names(columns)], row)
        columns = columns_of(format, row.values, columns, row.where)
        name = format and format.name
    _check_columns(column_names(columns), row)
    id = _id(row, columns.id) if columns.id else row.default_id
    digest = _unseen(id, ids, row, columns.id) if columns.id else None
    group = _scalar(row, columns.group) if columns.group else None
    make: Callable[[], Document]
    if columns.text:
        text = text_of(row.values[columns.text], _at(row, columns.text))
        make = partial(make_document, id, "text", [("text", text)], group)
    else:
        messages = _conversation(row, columns)
        tools = _tools(row, columns.tools) if columns.tools else []
        make = partial(make_conversation, id, messages, tools, group or _question(messages))
    try:
        document = make()
    except RowError as bad:
        raise bad.at(row.where) from bad
    if not document.supervised:
        raise RowError("nothing to learn from", row.where, "all that is trained on is empty")
    if digest:
        ids.add(digest)
    return document, (told(name, columns), set(row.names) - set(column_names(columns)))


def _at(row: Row, column: str) -> str:
    return f"{row.where}, column {column!r}"


def _check_columns(wanted: Iterable[str], row: Row) -> None:
    if missing := [name for name in wanted if name not in row.values]:
        raise RowError(
            "a column is missing",
            row.where,
            f"no column {missing[0]!r}; the columns here are {', '.join(row.names) or 'none'}",
        )


def _id(row: Row, column: str) -> str:
    value = row.values[column]
    return str(value) if isinstance(value, int) else text_of(value, _at(row, column))


def _unseen(id: str, ids: set[bytes], row: Row, column: str) -> bytes:
    """The digest of an id; raises RowError if it is in `ids`."""
    digest = id_digest(id)
    if digest in ids:
        raise RowError(
            "an id that was seen before",
            row.where,
            f"the id {id!a} was seen before; ids must be unique: repair the column {column!r} or "
            "leave it out of the configuration",
        )
    return digest


def _conversation(row: Row, columns: Columns) -> list[dict[str, Any]]:
    if columns.messages:
        where = _at(row, columns.messages)
        messages = read_messages(row.values[columns.messages], where, columns.drop)
    else:
        messages = _question_and_answer(row, columns)
    if columns.system and not is_empty(row.values[columns.system]):
        messages = _with_system(messages, _scalar(row, columns.system), row)
    if not any(one["role"] == "assistant" and one.get("weight", 1) for one in messages):
        raise RowError(
            "no answer that is trained on",
            _at(row, columns.messages or str(columns.response)),
            "the conversation has no assistant turn that is trained on, so there is nothing to "
            "learn; leave it out",
        )
    return messages


def _with_system(messages: list[dict[str, Any]], prompt: str, row: Row) -> list[dict[str, Any]]:
    own = [one["content"] for one in messages if one["role"] == "system"]
    if own not in ([], [prompt]):
        raise RowError(
            "two system prompts",
            row.where,
            f"the messages have another system prompt than the column, {own[0]!a:.80}",
        )
    return messages if own else [{"role": "system", "content": prompt}, *messages]


def _question_and_answer(row: Row, columns: Columns) -> list[dict[str, Any]]:
    """The conversation of a prompt and a response, each of them text, or messages of which the
    response's are trained on."""
    assert columns.prompt and columns.response
    answer = _side(row, columns.response, "assistant", columns)
    if any(one["role"] == "user" for one in answer):
        return answer
    question = _side(row, columns.prompt, "user", columns)
    question = [one | {"weight": 0} if one["role"] == "assistant" else one for one in question]
    if columns.context and not is_empty(row.values[columns.context]):
        if not question or question[-1]["role"] != "user":
            raise RowError(
                "a context without a question",
                _at(row, columns.prompt),
                "expected messages that end in a question, since there is a context",
            )
        *before, last = question
        content = f"{last['content']}\n\n{_scalar(row, columns.context)}"
        question = [*before, last | {"content": content}]
    return [*question, *answer]


def _side(row: Row, column: str, role: str, columns: Columns) -> list[dict[str, Any]]:
    value, where = row.values[column], _at(row, column)
    if isinstance(value, dict):
        return [read_message(value, where, columns.drop)]
    if isinstance(value, list):
        return read_messages(value, where, columns.drop)
    return [{"role": role, "content": _scalar(row, column)}]


def _scalar(row: Row, column: str) -> str:
    """The text of a value: texts as they are, numbers as JSON writes them, dates as ISO 8601
    does."""
    value, where = row.values[column], _at(row, column)
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return json.dumps(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise RowError(
                "not valid UTF-8", where, f"not valid UTF-8 at byte offset {error.start}"
            ) from error
    return text_of(None if value != value else value, where)


def _tools(row: Row, column: str) -> list[Any]:
    given = row.values[column] or []
    try:
        tools = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        tools = None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise RowError(
            "tools that are none",
            row.where,
            f"column {column!r}: expected a list of descriptions of tools, or that as JSON text, "
            f"{found(given)}",
        )
    return tools


def _question(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """The digest of what a user first asks, without regard to case and spaces: several answers to
    one question are one group. None where nothing is asked."""
    from_user = dropwhile(lambda one: one["role"] != "user", messages)
    asked = takewhile(lambda one: one["role"] == "user", from_user)
    text = "\n".join(one["content"] for one in asked)
    words = unicodedata.normalize("NFKC", text).casefold().split()
    text = " ".join(words)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest() if text else None
