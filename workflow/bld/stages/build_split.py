"""Read a source of documents, write the shards of one split of them, and count what is there."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import Field

from bld.documents.conversation import turn_by_turn
from bld.documents.document import Document
from bld.documents.intake import Intake
from bld.documents.shards import write_splits
from bld.documents.splits import assign_split
from bld.pipeline.step import File, Files, Folder, stage
from bld.pipeline.step_settings import BuildSplit
from bld.privacy import anonymised
from bld.progress import progress

DATASETS = Path("resources/datasets")


class Inputs(Files):
    judges: list[Folder] = Field([])


class Outputs(Files):
    manifest: File


def main() -> None:
    """Write the last of the splits in the settings into the folder of the manifest."""
    with stage(BuildSplit, Inputs, Outputs) as step:
        corpus, order = step.settings.corpus, step.settings.order
        source = corpus.source
        reader = import_module(f"bld.documents.sources.{source.kind_name}")
        step.record.reads(reader.inputs(source, DATASETS), bool(source.own_files))
        intake = Intake(corpus.on_bad_row, corpus.at_most)
        splits = {split: corpus.splits[split] for split in order}
        name, folder = order[-1], step.outputs.manifest.parent
        judges = None
        if step.settings.judge:
            judging = import_module(f"bld.documents.{step.settings.judge}")
            judges = judging.Judges(step.inputs.judges, step.settings.renderings)

        def read() -> Iterator[Document]:
            shares = {split: of_split.fraction for split, of_split in splits.items()}
            for document in reader.read(source, DATASETS, intake):
                turns = list(turn_by_turn(document, corpus.turn_by_turn))
                # Those of other splits are judged when these are made.
                is_own = assign_split(document.group, shares, corpus.seed) == name
                if judges and is_own and (refusal := judges.refusal(turns)):
                    intake.refuse(refusal)
                else:
                    yield from turns

        def about() -> dict[str, Any]:
            python = {"python": platform.python_version()} if source.reads_python else {}
            return {"source": anonymised(source.model_dump()), **python, **intake.manifest()}

        documents = progress("documents", None, "documents", iterable=read())
        try:
            manifest = write_splits(documents, {name: folder}, splits, corpus.seed, about)[name]
        except ValueError as error:
            raise SystemExit(str(error)) from None
        finally:
            for line in intake.lines():
                print(line)
        print(f"{name}: {manifest['documents']:,} documents, {manifest['content_bytes']:,} bytes")


if __name__ == "__main__":
    main()
