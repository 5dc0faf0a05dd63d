"""Measure how far a student's byte distributions are from its teacher's, and what bytes cost both."""

from __future__ import annotations

from functools import partial
from itertools import islice

from bld.config.settings import Histories
from bld.documents.shards import read_split
from bld.evaluation.byte_divergence import byte_divergence, open_head
from bld.evaluation.files import write_evaluation
from bld.folders import whole_folder
from bld.models import memory_explained
from bld.pipeline.step import StepParser
from bld.scoring.averaging import open_models
from bld.scoring.scorer import open_scorer


@memory_explained("lower `batch_tokens` or `window` under `evaluation`")
def main() -> None:
    """Write the evaluation of one student, and of its byte head if it has a trained one, against its
    teacher."""
    parser = StepParser(__doc__)
    parser.reads("--documents", help="manifest of a split")
    parser.reads("--model", type=whole_folder)
    parser.reads("--head", type=whole_folder, nargs="?", help="folder of its byte head")
    parser.reads("--teacher", type=whole_folder, nargs="+", help="its model, or several to average")
    parser.writes("--evaluation")
    with parser.recorded() as arguments:
        settings = arguments.step.settings
        documents = list(islice(read_split(arguments.documents.parent), settings["documents"]))
        window = settings["window"]
        open_one = partial(
            open_scorer,
            policy=Histories(**settings["policy"]),
            window=window,
            batch_tokens=settings["batch_tokens"],
        )
        of_teacher = settings["teacher_reading"], settings.get("teacher_average")
        teacher = open_models(arguments.teacher, *of_teacher, open_one)
        student = open_one(arguments.model, settings["reading"])
        kind = settings["head"]
        head = open_head(kind, arguments.head, student.lm, window) if kind else None
        result = byte_divergence(documents, teacher, student, head) | {"policy": settings["policy"]}
        write_evaluation(arguments.evaluation, result, arguments.model)
        print(f"JSD {result['jsd']:.4f} nats over {result['symbols']:,} symbols")


if __name__ == "__main__":
    main()
