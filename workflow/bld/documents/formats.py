"""The formats that rows are found to have by the names of their columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from bld.config.documents import Columns
from bld.documents.intake import RowError


class Format(NamedTuple):
    """Columns by what they hold, which a row must have, with those `beside` them that show the
    format but are not read."""

    name: str
    columns: Mapping[str, str]
    beside: tuple[str, ...] = ()

    @property
    def shown_by(self) -> tuple[str, ...]:
        """The columns that a row of this format has."""
        return (*self.columns.values(), *self.beside)


def _pairs(name: str, *pairs: tuple[str, str], beside: tuple[str, ...] = ()) -> list[Format]:
    return [
        Format(name, {"prompt": prompt, "response": response}, beside) for prompt, response in pairs
    ]


FORMATS = (
    *_pairs(
        "preference data",
        *(
            (prompt, "chosen")
            for prompt in ("prompt", "question", "instruction", "messages", "conversations")
        ),
        beside=("rejected",),
    ),
    Format("preference data", {"messages": "chosen"}, ("rejected",)),
    Format("messages", {"messages": "messages"}),
    Format("ShareGPT", {"messages": "conversations"}),
    *_pairs("Alpaca", ("instruction", "output")),
    *_pairs("Dolly", ("instruction", "response")),
    *_pairs(
        "prompt and response",
        ("prompt", "response"),
        ("prompt", "completion"),
        ("question", "answer"),
        ("question", "response"),
        ("query", "response"),
        ("problem", "generated_solution"),
        ("problem", "solution"),
        ("input", "output"),
    ),
    Format("text", {"text": "text"}),
)
"""Of several that a row shows, the first is taken."""

OPTIONAL: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "messages": {"system": ("system", "system_prompt"), "tools": ("tools",)},
    "prompt": {
        "context": ("context", "input", "passage"),
        "system": ("system", "system_prompt"),
        "tools": ("tools",),
    },
    "text": {},
}
"""What is read besides, where a row has it, by what holds its texts."""

MEDIA = {"image", "images", "audio", "audios", "video", "videos"}
TELLING: Mapping[str, set[str]] = {
    "messages": MEDIA,
    "prompt": MEDIA | {"choices", "context", "history", "input", "label", "options", "passage"},
    "text": set(),
}
"""Columns without which the texts say something else, by what holds these. Where they would be left
out, nothing is guessed."""

COLUMNS = {
    *(column for format in FORMATS for column in format.shown_by),
    *(name for roles in OPTIONAL.values() for names in roles.values() for name in names),
    *(name for names in TELLING.values() for name in names),
}
"""All that a format is found by."""


def is_empty(value: Any) -> bool:
    """Whether a column holds nothing."""
    return value is None or (isinstance(value, str | list | dict) and not value)


def format_of(row: Mapping[str, Any]) -> Format | None:
    """The first format whose columns a row has, filled."""
    names = {name for name, value in row.items() if value is not None}
    return next((format for format in FORMATS if names.issuperset(format.shown_by)), None)


def columns_of(
    format: Format | None, row: Mapping[str, Any], columns: Columns, where: str
) -> Columns:
    """The columns to read of a row, with those of `columns` that are read in any format. Raises
    RowError if no format is known, and where one would leave out what belongs to the question."""
    if format is None:
        known = dict.fromkeys(" + ".join(format.shown_by) for format in FORMATS)
        raise RowError(
            "columns of no known format",
            where,
            f"the columns {', '.join(row) or '(none)'} show no format; expected those of one "
            f"({', '.join(known)}), or `columns` that says what they hold",
        )
    found = _with_optional(format, row)
    telling = TELLING[next(iter(found))] - set(found.values())
    if left := {name for name in telling if not is_empty(row.get(name))}:
        raise RowError(
            "columns that would be left out",
            where,
            f"found {format.name}, which would leave out {', '.join(sorted(left))}; say under "
            "`columns` what is to be read",
        )
    return columns.model_copy(update=found)


def _with_optional(format: Format, names: Collection[str]) -> dict[str, str]:
    found = dict(format.columns)
    for role, candidates in OPTIONAL[next(iter(found))].items():
        free = [name for name in candidates if name in names and name not in found.values()]
        if free:
            found[role] = free[0]
    return found


def told(name: str | None, columns: Columns) -> str:
    """How a row was read: its format, if it was found, and which column holds what."""
    read = ((role, column) for role, column in columns if isinstance(column, str))
    which = ", ".join(f"{role}: {column}" for role, column in read)
    return f"{name} ({which})" if name else which


def column_names(columns: Columns) -> list[str]:
    """The columns that are named."""
    named = (column for _, column in columns if isinstance(column, str))
    return list(dict.fromkeys(named))


def may_be_read(columns: Columns) -> Iterable[str]:
    """The columns that may be read of a file, before any row of it is known."""
    named = column_names(columns)
    return named if columns.are_named else sorted({*named, *COLUMNS})
