"""Measure a model's bits per byte on a split."""

from __future__ import annotations

from bld.documents.shards import read_split
from bld.evaluation.bits_per_byte import bits_per_byte
from bld.evaluation.files import write_evaluation
from bld.evaluation.reader import open_model
from bld.models import memory_explained
from bld.pipeline.step import File, Files, Folder, stage
from bld.pipeline.step_settings import EvaluateBitsPerByte


class Inputs(Files):
    documents: File
    model: Folder


class Outputs(Files):
    evaluation: File


@memory_explained("lower `batch_tokens` or `window` under `evaluation`")
def main() -> None:
    """Write the evaluation of one model."""
    with stage(EvaluateBitsPerByte, Inputs, Outputs) as step:
        settings = step.settings
        renderer, reader = open_model(
            step.inputs.model, settings.rendering, settings.window, settings.batch_tokens
        )
        result = bits_per_byte(list(read_split(step.inputs.documents.parent)), renderer, reader)
        write_evaluation(step.outputs.evaluation, result, step.inputs.model)
        print(f"{result['bits_per_byte']:.4f} bits per byte over {result['bytes']:,} bytes")


if __name__ == "__main__":
    main()
