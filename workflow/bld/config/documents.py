"""The settings of what comes in: documents, and data sets to fetch; and what every section has in
common.

`config` is the place to import settings from.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from bld.config.phrases import did_you_mean

T = TypeVar("T")
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Revision = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]*$")]


class Section(BaseModel):
    """A group of settings: unknown keys are errors, attribute docstrings are the reference page."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
    reruns: ClassVar[str] = ""
    renamed: ClassVar[Mapping[str, str]] = {}
    """Old names of settings, which are accepted for one release, and their present ones."""

    @model_validator(mode="before")
    @classmethod
    def rename(cls, raw: Any) -> Any:
        """Accept old names."""
        return cls.with_new_names(raw)

    @classmethod
    def with_new_names(cls, raw: Any) -> Any:
        """A section as it was written, under the present names, with a hint about each old one.

        An old name beside the new one stays, and is an unknown setting.
        """
        if not isinstance(raw, dict):
            return raw
        old_names = {old: new for old, new in cls.renamed.items() if old in raw and new not in raw}
        for old, new in old_names.items():
            hint(f"`{old}` is now called `{new}`; the old name is accepted until 0.3")
        return {old_names.get(key, key): value for key, value in raw.items()}


@cache
def hint(text: str) -> None:
    """Say something about the configuration that is no error, once."""
    print(f"Configuration: {text}.", file=sys.stderr)


class UnknownEntryError(LookupError):
    """A name under which a section of the configuration has no entry."""


class _Entries(dict[str, T]):
    """The entries of a section by their names, of which one that is not there is asked for in
    vain: by a file that a user named as what is to be made, for one."""

    def __init__(self, entries: Mapping[str, T], section: str) -> None:
        super().__init__(entries)
        self.section = section

    def __missing__(self, name: str) -> T:
        raise UnknownEntryError(
            f"there is no `{name}` under `{self.section}`{did_you_mean(name, self)}"
        )


def _entries(entries: dict[str, T], info: ValidationInfo) -> dict[str, T]:
    return _Entries(entries, str(info.field_name))


Entries = Annotated[dict[Name, T], AfterValidator(_entries)]
"""What a section of the configuration holds by name."""


class Columns(Section):
    """Which columns of a data set hold what: `text`, or `messages`, or `prompt` with `response`.

    With none of these the format is found by the names of the columns, and told.
    """

    reruns = "the corpus and everything after it"

    text: str | None = None
    """Column of plain text: every byte is supervised."""
    messages: str | None = None
    """Column of chat messages, in the form of OpenAI's interface or of ShareGPT: the assistant's
    turns are supervised, but for those of `weight: 0`. Reasoning, tool calls and their results are
    read."""
    prompt: str | None = None
    """Column of a question (text, a number, or messages, whose answers are not supervised); needs
    `response`."""
    response: str | None = None
    """Column of the answer, which is supervised; needs `prompt`. Messages that hold a user's turn
    are the whole conversation, as in preference data."""
    context: str | None = None
    """Column of what the question is about, beside `prompt`: it follows the question after a blank
    line, unless it is empty."""
    system: str | None = None
    """Column of system prompts, beside `messages` or `prompt`; an empty one is none."""
    tools: str | None = None
    """Column of the tools that may be called, beside `messages` or `prompt`: a list of their
    descriptions, or that as JSON text."""
    id: str | None = None
    """Column of document ids; without it a document is named by its file and row."""
    group: str | None = None
    """Column of what documents have in common that may not be parted by splits (a question, a
    book). Without it, the first question of a conversation, without regard to case and spaces; of
    plain text, all of it."""
    drop: list[str] = []
    """Fields of messages to leave out. Any other that is not understood is an error."""

    @property
    def are_named(self) -> bool:
        """Whether it is said what holds the texts."""
        return bool(self.text or self.messages or self.prompt)

    def problems(self) -> Iterator[tuple[str, str]]:
        """As `Source.problems`."""
        unrestricted = {"id", "group", "drop"}
        given = self.model_dump(exclude=unrestricted, exclude_none=True).keys()
        beside = {
            (): set(),
            ("text",): set(),
            ("messages",): {"system", "tools"},
            ("prompt", "response"): {"context", "system", "tools"},
        }
        main = tuple(name for name in given if name in ("text", "messages", "prompt", "response"))
        if main not in beside or given - {*main, *beside[main]}:
            found = ", ".join(f"`{name}`" for name in given)
            yield (
                "columns",
                f"found {found}, expected `text`, `messages` (and `system`, `tools`), `prompt` "
                "with `response` (and `context`, `system`, `tools`), or none of these, for a "
                "format that is found by its columns",
            )


class Split(Section):
    """One part of a corpus; documents of one group (a module, answers to one question, identical
    texts) never fall into two parts."""

    reruns = "the split (a fraction: also the splits after it) and what reads it"
    renamed: ClassVar = {"share": "fraction"}

    fraction: Fraction
    """Fraction of the groups that falls into this split."""
    shards: Count = 1
    """Number of files; teacher scoring runs one job for each."""
    documents: Count | None = None
    """Stop after this many documents; null takes all of the fraction."""


class Expected(Section):
    """What `snakemake plan` assumes of a corpus whose documents are not made yet."""

    reruns = "nothing: only `snakemake plan` reads it"
    renamed: ClassVar = {"supervised_share": "supervised_fraction"}

    documents: Count
    """Documents of the whole source."""
    bytes_per_document: Positive
    """Mean length of their content."""
    supervised_fraction: Fraction = 1.0
    """Fraction of the content that is supervised."""
    bytes_per_token: Positive = 4.0
    """Mean length of a token, of teacher and student alike; a token of a byte student is one
    byte."""


class Dataset(Section):
    """A data set of the Hugging Face hub, fetched once, or a folder in its layout."""

    reruns = "the fetch, the corpora made from it and everything after them"

    hub: str | None = None
    """Repository, such as `allenai/tulu-3-sft-mixture`."""
    revision: Revision | None = None
    """Commit of the repository, 40 hexadecimal digits; or the name of a branch or a tag, for which
    `snakemake fetch` notes the commit in config/lock.yaml."""
    path: str | None = None
    """A local folder instead of `hub`."""
    files: list[str] = ["*.parquet", "*.json*", "*.csv*", "*.tsv*"]
    """Which files of the repository to fetch, besides its card and its licence."""
