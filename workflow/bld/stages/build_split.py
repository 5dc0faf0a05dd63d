"""Read a source of documents, write the shards of one split of them, and count what is there."""

from __future__ import annotations

import platform
from importlib import import_module
from pathlib import Path
from typing import Any

from bld.documents.conversation import turn_by_turn
from bld.documents.shards import write_splits
from bld.pipeline.step import File, Files, stage
from bld.pipeline.step_settings import BuildSplit
from bld.privacy import anonymised
from bld.progress import progress

DATASETS = Path("resources/datasets")


class Outputs(Files):
    manifest: File


def main() -> None:
    """Write the last of the splits in the settings into the folder of the manifest."""
    with stage(BuildSplit, Files, Outputs) as step:
        corpus, order = step.settings.corpus, step.settings.order
        source = corpus.source
        reader = import_module(f"bld.documents.sources.{source.kind_name}")
        step.record.reads(reader.inputs(source, DATASETS), bool(source.own_files))
        about: dict[str, Any] = {"source": anonymised(source.model_dump())}
        if source.reads_python:
            about["python"] = platform.python_version()
        read = (
            one
            for document in reader.read(source, DATASETS)
            for one in turn_by_turn(document, corpus.turn_by_turn)
        )
        documents = progress("documents", None, "documents", iterable=read)
        name, folder = order[-1], step.outputs.manifest.parent
        splits = {split: corpus.splits[split] for split in order}
        manifest = write_splits(documents, {name: folder}, splits, corpus.seed, about)[name]
        print(f"{name}: {manifest['documents']:,} documents, {manifest['content_bytes']:,} bytes")


if __name__ == "__main__":
    main()
