"""Train a tokenizer on a split, for a model made from scratch."""

from __future__ import annotations

from itertools import islice

from bld.documents.shards import read_split
from bld.folders import new_folder
from bld.pipeline.step import File, Files, stage
from bld.pipeline.step_settings import TrainTokenizer
from bld.tokenization.scratch import train_tokenizer


class Inputs(Files):
    documents: File


class Outputs(Files):
    manifest: File


def main() -> None:
    """Write the tokenizer into the folder of the manifest."""
    with stage(TrainTokenizer, Inputs, Outputs) as step:
        settings = step.settings
        shape = settings.tokenizer
        documents = islice(read_split(step.inputs.documents.parent), settings.documents)
        texts = (segment.text.decode() for document in documents for segment in document.segments)
        tokenizer = train_tokenizer(texts, shape.kind, shape.vocabulary, shape.template)
        with new_folder(step.outputs.manifest.parent, {"entries": len(tokenizer)}) as folder:
            tokenizer.save_pretrained(folder)
        print(f"{shape.kind}: {len(tokenizer):,} entries")


if __name__ == "__main__":
    main()
