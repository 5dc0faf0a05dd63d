"""Count how far the tokens of a student and of a teacher agree on the documents of a split."""

from __future__ import annotations

from itertools import islice

from bld.documents.shards import read_split
from bld.evaluation.alignment import alignment
from bld.files import write_json
from bld.pipeline.step import File, Files, Folder, stage
from bld.pipeline.step_settings import MeasureAlignment
from bld.tokenization.rendering import load_renderer


class Inputs(Files):
    documents: File
    student: Folder
    teacher: Folder


class Outputs(Files):
    alignment: File


def main() -> None:
    """Write the counts of one student, teacher and split."""
    with stage(MeasureAlignment, Inputs, Outputs) as step:
        settings = step.settings
        student = load_renderer(step.inputs.student, **dict(settings.student_rendering))
        teacher = load_renderer(step.inputs.teacher, **dict(settings.teacher_rendering))
        documents = islice(read_split(step.inputs.documents.parent), settings.documents)
        result = alignment(documents, student, teacher)
        write_json(step.outputs.alignment, result)
        tokens, positions = result["tokens"], result["bytes"]
        print(
            f"{tokens['aligned']:,} of {tokens['student']:,} tokens are aligned, and "
            f"{positions['shared_boundary']:,} of {positions['total']:,} bytes end tokens of both"
        )


if __name__ == "__main__":
    main()
