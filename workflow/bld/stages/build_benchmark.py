"""Make a benchmark from the documents of a split."""

from __future__ import annotations

from bld.documents.shards import read_split
from bld.evaluation.benchmarks.local import write_benchmark
from bld.folders import new_folder
from bld.pipeline.step import StepParser


def main() -> None:
    """Write the documents and the task's definition into the folder of the manifest."""
    parser = StepParser(__doc__)
    parser.reads("--documents", help="manifest of a split")
    parser.writes("--manifest")
    with parser.recorded() as arguments:
        settings = arguments.step.settings
        documents = list(read_split(arguments.documents.parent))
        with new_folder(arguments.manifest.parent, {"made": settings}) as folder:
            write_benchmark(
                settings["kind"], documents, settings["documents"], settings["seed"], folder
            )


if __name__ == "__main__":
    main()
