"""Read a source of documents, write the shards of one split of them, and count what is there."""

from __future__ import annotations

import platform
from importlib import import_module
from pathlib import Path
from typing import Any

from bld.config.settings import Corpus
from bld.documents.shards import write_splits
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
        source = corpus.source
        reader = import_module(f"bld.documents.sources.{source.kind_name}")
        files = reader.inputs(source, arguments.datasets)
        arguments.record.reads(files, bool(source.own_files))
        about: dict[str, Any] = {"source": anonymised(source.model_dump())}
        if source.reads_python:
            about["python"] = platform.python_version()
        read = reader.read(source, arguments.datasets)
        documents = progress("documents", None, "documents", iterable=read)
        name, _ = described["splits"][-1]
        folders = {name: arguments.manifest.parent}
        manifest = write_splits(documents, folders, corpus.splits, corpus.seed, about)[name]
        print(f"{name}: {manifest['documents']:,} documents, {manifest['content_bytes']:,} bytes")


if __name__ == "__main__":
    main()
