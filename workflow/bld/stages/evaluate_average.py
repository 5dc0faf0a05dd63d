"""Measure the bits per byte of several models averaged, which have no tokens in common, by their
byte distributions."""

from __future__ import annotations

from functools import partial

from bld.documents.shards import read_split
from bld.evaluation.bits_per_byte import average_bits_per_byte
from bld.evaluation.files import write_evaluation
from bld.models import memory_explained
from bld.pipeline.step import File, Files, Folder, stage
from bld.pipeline.step_settings import EvaluateAverage
from bld.scoring.averaging import open_models
from bld.scoring.scorer import open_scorer


class Inputs(Files):
    documents: File
    models: list[Folder]


class Outputs(Files):
    evaluation: File


@memory_explained("lower `batch_tokens` or `window` under `evaluation`")
def main() -> None:
    """Write the evaluation of one average."""
    with stage(EvaluateAverage, Inputs, Outputs) as step:
        settings = step.settings
        open_one = partial(
            open_scorer,
            policy=settings.policy,
            window=settings.window,
            batch_tokens=settings.batch_tokens,
        )
        read_as = settings.rendering, settings.average
        scorer = open_models(step.inputs.models, *read_as, open_one)
        result = average_bits_per_byte(list(read_split(step.inputs.documents.parent)), scorer)
        write_evaluation(step.outputs.evaluation, result, *step.inputs.models)
        bits = result["bits_per_byte"]
        found = "infinitely many" if bits is None else f"{bits:.4f}"
        print(f"{found} bits per byte over {result['bytes']:,} bytes")


if __name__ == "__main__":
    main()
