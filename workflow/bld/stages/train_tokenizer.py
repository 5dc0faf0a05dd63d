"""Train a tokenizer on a split, for a model made from scratch."""

from __future__ import annotations

from itertools import islice

from bld.config.settings import ScratchTokenizer
from bld.documents.shards import read_split
from bld.folders import new_folder
from bld.pipeline.step import StepParser
from bld.tokenization.scratch import train_tokenizer


def main() -> None:
    """Write the tokenizer into the folder of the manifest."""
    parser = StepParser(__doc__)
    parser.reads("--documents", help="manifest of a split")
    parser.writes("--manifest")
    with parser.recorded() as arguments:
        settings = arguments.step.settings
        shape = ScratchTokenizer.model_validate(settings["tokenizer"])
        documents = islice(read_split(arguments.documents.parent), settings["documents"])
        texts = (segment.text.decode() for document in documents for segment in document.segments)
        tokenizer = train_tokenizer(texts, shape.kind, shape.vocabulary, shape.template)
        with new_folder(arguments.manifest.parent, {"entries": len(tokenizer)}) as folder:
            tokenizer.save_pretrained(folder)
        print(f"{shape.kind}: {len(tokenizer):,} entries")


if __name__ == "__main__":
    main()
