"""Measure how far a student's byte distributions are from its teacher's, and what bytes cost
both."""

from __future__ import annotations

from functools import partial
from itertools import islice

from bld.documents.shards import read_split
from bld.evaluation.byte_divergence import byte_divergence, open_head
from bld.evaluation.files import write_evaluation
from bld.models import memory_explained
from bld.pipeline.step import File, Files, Folder, OptionalFolder, stage
from bld.pipeline.step_settings import EvaluateByteDivergence
from bld.scoring.averaging import open_models
from bld.scoring.scorer import open_scorer


class Inputs(Files):
    documents: File
    model: Folder
    head: OptionalFolder
    teacher: list[Folder]


class Outputs(Files):
    evaluation: File


@memory_explained("lower `batch_tokens` or `window` under `evaluation`")
def main() -> None:
    """Write the evaluation of one student, and of its byte head if it has a trained one, against
    its teacher."""
    with stage(EvaluateByteDivergence, Inputs, Outputs) as step:
        settings = step.settings
        documents = list(islice(read_split(step.inputs.documents.parent), settings.documents))
        window = settings.window
        open_one = partial(
            open_scorer,
            policy=settings.policy,
            window=window,
            batch_tokens=settings.batch_tokens,
        )
        of_teacher = settings.teacher.rendering, settings.teacher.average
        teacher = open_models(step.inputs.teacher, *of_teacher, open_one)
        student = open_one(step.inputs.model, settings.rendering)
        head = None
        if settings.head and step.inputs.head:
            head = open_head(settings.head, step.inputs.head, student.lm, window)
        result = byte_divergence(documents, teacher, student, head) | {
            "policy": settings.policy.model_dump(exclude_unset=True)
        }
        write_evaluation(step.outputs.evaluation, result, step.inputs.model)
        print(f"JSD {result['jsd']:.4f} nats over {result['symbols']:,} symbols")


if __name__ == "__main__":
    main()
