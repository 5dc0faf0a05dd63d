"""Make a benchmark from the documents of a split."""

from __future__ import annotations

from pathlib import Path

from bld.documents.shards import read_split
from bld.evaluation.benchmarks.local import write_benchmark
from bld.folders import new_folder
from bld.provenance.step import step_parser


def main() -> None:
    """Write the documents and the task's definition into the folder of the manifest."""
    parser = step_parser(__doc__)
    parser.add_argument("--documents", type=Path, required=True, help="manifest of a split")
    parser.add_argument("--manifest", type=Path, required=True)
    arguments = parser.parse_args()
    settings = arguments.step.settings
    documents = list(read_split(arguments.documents.parent))
    with new_folder(arguments.manifest.parent, {"made": settings}) as folder:
        write_benchmark(
            settings["kind"], documents, settings["documents"], settings["seed"], folder
        )


if __name__ == "__main__":
    main()
