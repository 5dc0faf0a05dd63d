"""Count how far the tokens of a student and of a teacher agree on the documents of a split."""

from __future__ import annotations

from itertools import islice

from bld.documents.shards import read_split
from bld.evaluation.alignment import alignment
from bld.files import write_json
from bld.folders import whole_folder
from bld.pipeline.step import StepParser
from bld.tokenization.rendering import load_renderer


def main() -> None:
    """Write the counts of one student, teacher and split."""
    parser = StepParser(__doc__)
    parser.reads("--documents", help="manifest of a split")
    parser.reads("--student", type=whole_folder)
    parser.reads("--teacher", type=whole_folder)
    parser.writes("--alignment")
    with parser.recorded() as arguments:
        settings = arguments.step.settings
        student = load_renderer(arguments.student, **settings["student_reading"])
        teacher = load_renderer(arguments.teacher, **settings["teacher_reading"])
        documents = islice(read_split(arguments.documents.parent), settings["documents"])
        result = alignment(documents, student, teacher)
        write_json(arguments.alignment, result)
        tokens, positions = result["tokens"], result["bytes"]
        print(
            f"{tokens['aligned']:,} of {tokens['student']:,} tokens are aligned, and "
            f"{positions['shared_boundary']:,} of {positions['total']:,} bytes end tokens of both"
        )


if __name__ == "__main__":
    main()
