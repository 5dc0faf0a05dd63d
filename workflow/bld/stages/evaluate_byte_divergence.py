"""Measure how far a student's byte distributions are from its teacher's."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from bld.documents.shards import read_split
from bld.evaluation.divergence import byte_divergence
from bld.files import write_json
from bld.folders import whole_folder
from bld.models import open_model
from bld.provenance.step import step_parser


def main() -> None:
    """Write the evaluation of one student against its teacher."""
    parser = step_parser(__doc__)
    parser.add_argument("--documents", type=Path, required=True, help="manifest of a split")
    parser.add_argument("--model", type=whole_folder, required=True)
    parser.add_argument("--teacher", type=whole_folder, required=True)
    parser.add_argument("--evaluation", type=Path, required=True)
    arguments = parser.parse_args()
    settings = arguments.step.settings
    documents = list(islice(read_split(arguments.documents.parent), settings["documents"]))
    limits = settings["window"], settings["batch_tokens"]
    teacher = open_model(arguments.teacher, settings["teacher_reading"], *limits)
    student = open_model(arguments.model, settings["reading"], *limits)
    result = byte_divergence(documents, teacher, student)
    write_json(arguments.evaluation, result)
    print(f"JSD {result['jsd']:.4f} nats over {result['bytes']:,} symbols")


if __name__ == "__main__":
    main()
