"""What every definition of a source of documents has: its settings as fields, all else as
attributes.

A source is two files: `config/sources/{kind}.py`, a subclass of `Source` with a `kind` of that
name, and `documents/sources/{kind}.py`, which reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from bld.config.documents import Expected, Section


class Source(Section):
    """Where the documents of a corpus come from."""

    reruns = "the corpus and everything after it"
    licence: ClassVar[tuple[str, str] | None] = None
    """Name and link of the licence that all its documents have."""
    reads_python: ClassVar[bool] = False
    """Whether the documents depend on the Python that reads them."""
    has_local_benchmarks: ClassVar[bool] = False
    """Whether its documents are such that `benchmarks.NAME.local` can be made from them."""
    size: ClassVar[Expected | None] = None
    """How much there is, where that is known."""

    @property
    def kind_name(self) -> str:
        """The name of its modules."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def datasets(self) -> list[str]:
        """The entries of `datasets` that it reads."""
        return []

    @property
    def own_files(self) -> list[str]:
        """Files, folders and patterns of files of the user's own that it reads."""
        return []

    def description(self, python: str | None) -> str:
        """What it is, for a model card; `python`: the version that read it."""
        return f"documents from the source `{self.kind_name}`"

    def problems(self) -> Iterator[tuple[str, str]]:
        """A setting that cannot be, and what is wrong with it."""
        yield from ()
