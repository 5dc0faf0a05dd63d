"""Read a source of documents, write the shards of one split of them, and count what is there."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bld.config.settings import Corpus, Files, FromDataset
from bld.documents.document import Document
from bld.documents.python_docs import python_docs
from bld.documents.shards import write_splits
from bld.documents.sources import read_dataset, read_files, source_files
from bld.files import MANIFEST
from bld.pipeline.step import StepParser
from bld.privacy import anonymised
from bld.progress import progress


def main() -> None:
    """Write the last of the splits in the settings into the folder of the manifest."""
    parser = StepParser(__doc__)
    parser.add_argument("--datasets", type=Path, required=True, help="folder of fetched data sets")
    parser.writes("--manifest")
    with parser.recorded() as arguments:
        settings = arguments.step.settings
        described = settings["corpus"]
        corpus = Corpus.model_validate(described | {"splits": dict(described["splits"])})
        is_outside = isinstance(corpus.source, Files)
        arguments.record.reads(files(corpus, arguments.datasets), is_outside)
        about: dict[str, Any] = {"source": anonymised(corpus.source.model_dump())}
        if corpus.source.kind == "python_docs":
            about["python"] = platform.python_version()
        documents = progress(
            "documents", None, "documents", iterable=read(corpus, arguments.datasets)
        )
        name, _ = described["splits"][-1]
        folders = {name: arguments.manifest.parent}
        manifest = write_splits(documents, folders, corpus.splits, corpus.seed, about)[name]
        print(f"{name}: {manifest['documents']:,} documents, {manifest['content_bytes']:,} bytes")


def read(corpus: Corpus, datasets: Path) -> Iterator[Document]:
    """The documents of a corpus' source."""
    source = corpus.source
    if isinstance(source, Files):
        return read_files(source.paths, source.format, source.columns)
    if isinstance(source, FromDataset):
        return read_dataset(str(datasets / source.dataset), source.split, source.columns)
    return python_docs(source.max_bytes)


def files(corpus: Corpus, datasets: Path) -> list[Path]:
    """The files that a corpus' source is read from, a data set by its manifest."""
    source = corpus.source
    if isinstance(source, Files):
        return source_files(source.paths, source.format)
    return [datasets / source.dataset / MANIFEST] if isinstance(source, FromDataset) else []


if __name__ == "__main__":
    main()
