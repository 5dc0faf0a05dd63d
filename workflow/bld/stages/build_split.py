"""Read a source of documents, write the shards of one split of them, and count what is there."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bld.config import Corpus, Files, FromDataset
from bld.documents.document import Document
from bld.documents.python_docs import python_docs
from bld.documents.shards import write_splits
from bld.documents.sources import read_dataset, read_files
from bld.progress import progress
from bld.provenance.step import step_parser


def main() -> None:
    """Write the last of the splits in the settings into the folder of the manifest."""
    parser = step_parser(__doc__)
    parser.add_argument("--datasets", type=Path, required=True, help="folder of fetched data sets")
    parser.add_argument("--manifest", type=Path, required=True)
    arguments = parser.parse_args()
    settings = arguments.step.settings
    corpus = Corpus.model_validate(settings | {"splits": dict(settings["splits"])})
    about: dict[str, Any] = {"source": corpus.source.model_dump()}
    if corpus.source.kind == "python_docs":
        about["python"] = platform.python_version()
    documents = progress("documents", None, "documents", iterable=read(corpus, arguments.datasets))
    name, _ = settings["splits"][-1]
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


if __name__ == "__main__":
    main()
