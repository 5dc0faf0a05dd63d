"""Measure a model's bits per byte on a split."""

from __future__ import annotations

from bld.documents.shards import read_split
from bld.evaluation.bits_per_byte import bits_per_byte, open_model
from bld.evaluation.files import write_evaluation
from bld.folders import whole_folder
from bld.models import memory_explained
from bld.pipeline.step import StepParser


@memory_explained("lower `batch_tokens` or `window` under `evaluation`")
def main() -> None:
    """Write the evaluation of one model."""
    parser = StepParser(__doc__)
    parser.reads("--documents", help="manifest of a split")
    parser.reads("--model", type=whole_folder)
    parser.writes("--evaluation")
    with parser.recorded() as arguments:
        settings = arguments.step.settings
        renderer, reader = open_model(
            arguments.model, settings["reading"], settings["window"], settings["batch_tokens"]
        )
        result = bits_per_byte(list(read_split(arguments.documents.parent)), renderer, reader)
        write_evaluation(arguments.evaluation, result, arguments.model)
        print(f"{result['bits_per_byte']:.4f} bits per byte over {result['bytes']:,} bytes")


if __name__ == "__main__":
    main()
