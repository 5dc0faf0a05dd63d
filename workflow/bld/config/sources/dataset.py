"""A data set of the Hugging Face hub, or one on disk in its layout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from bld.config.documents import Columns, Name
from bld.config.source import Source


class DatasetSource(Source):
    """Documents from an entry of `datasets`."""

    kind: Literal["dataset"]
    """Chooses this kind of source."""
    dataset: Name
    """The entry under `datasets`."""
    name: str | None = None
    """Which of its configurations, if it has several."""
    split: str = "train"
    """The data set's own split to read; ours are cut from it."""
    columns: Columns = Columns()
    """Which columns to read."""

    @property
    def datasets(self) -> list[str]:
        """The one."""
        return [self.dataset]

    def problems(self) -> Iterator[tuple[str, str]]:
        """Columns that do not fit."""
        yield from self.columns.problems()
