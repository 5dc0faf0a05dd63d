"""Files of the user's own."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from bld.config.documents import Columns
from bld.config.source import Source


class FilesSource(Source):
    """Documents from files of your own."""

    kind: Literal["files"]
    """Chooses this kind of source."""
    paths: list[str] = Field(min_length=1)
    """Files, folders (all files below of the format) or patterns such as `data/*.jsonl`. Each may
    be packed by gzip or zstd."""
    format: Literal["jsonl", "json", "parquet", "csv", "tsv", "text"] | None = None
    """A document per row: of JSON lines, a JSON array, parquet, or a table with a header; or per
    file (text; cut books first, a file is scored whole). null: as the files' names end."""
    columns: Columns = Columns()
    """Which columns to read; not used for `text`."""

    @property
    def own_files(self) -> list[str]:
        """All of `paths`."""
        return self.paths

    def description(self, python: str | None) -> str:
        """With the format, if it is named."""
        return "files of whoever made this model" + (f" ({self.format})" if self.format else "")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Files that do not exist, and columns that do not fit."""
        for path in self.paths:
            if not (Path(path).exists() or glob.glob(path, recursive=True)):
                found = json.dumps(path, ensure_ascii=False)
                yield "paths", f"found {found}, expected files that exist"
        if self.format != "text":
            yield from self.columns.problems()
