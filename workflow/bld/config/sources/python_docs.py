"""The embedded corpus, which needs no network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bld.config.documents import Expected
from bld.config.source import Source


class PythonDocsSource(Source):
    """Documents made from the running Python's own standard library; needs no network."""

    licence = ("psf-2.0", "https://docs.python.org/3/license.html")
    reads_python = True
    has_local_benchmarks = True
    # Counted in the standard library of Python 3.11, cut at 1,500 bytes.
    size = Expected(
        documents=23000, bytes_per_document=560, supervised_fraction=0.97, bytes_per_token=3.5
    )

    kind: Literal["python_docs"]
    """Chooses this kind of source."""
    max_bytes: int = Field(2000, ge=200)
    """Longest document in bytes; longer source is cut at definitions and lines."""

    def description(self, python: str | None) -> str:
        """With the version of Python."""
        return f"source and documentation of the standard library of Python {python}"
