"""Measure how far a student's byte distributions are from its teacher's."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from bld.documents.shards import read_split
from bld.evaluation.divergence import byte_divergence
from bld.files import write_json
from bld.folders import whole_folder
from bld.models import Reader, load_language_model
from bld.provenance.step import step_parser
from bld.tokenization.rendering import Renderer, load_renderer


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
    teacher = open_model(arguments.teacher, settings["teacher_reading"], settings)
    student = open_model(arguments.model, settings["reading"], settings)
    result = byte_divergence(documents, teacher, student)
    write_json(arguments.evaluation, result)
    print(f"JSD {result['jsd']:.4f} nats over {result['bytes']:,} symbols")


def open_model(
    folder: Path, reading: dict[str, Any], settings: dict[str, Any]
) -> tuple[Renderer, Reader]:
    """A model's renderer and reader."""
    renderer = load_renderer(folder, **reading)
    lm = load_language_model(folder, trust_remote_code=reading["trust_remote_code"])
    return renderer, Reader(lm, renderer.vocabulary, settings["window"], settings["batch_tokens"])


if __name__ == "__main__":
    main()
