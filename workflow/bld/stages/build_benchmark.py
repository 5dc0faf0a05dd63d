"""Make a benchmark from the documents of a split."""

from __future__ import annotations

from bld.documents.shards import read_split
from bld.evaluation.benchmarks.local import write_benchmark
from bld.folders import new_folder
from bld.pipeline.step import File, Files, stage
from bld.pipeline.step_settings import BuildBenchmark


class Inputs(Files):
    documents: File


class Outputs(Files):
    manifest: File


def main() -> None:
    """Write the documents and the task's definition into the folder of the manifest."""
    with stage(BuildBenchmark, Inputs, Outputs) as step:
        settings = step.settings
        documents = list(read_split(step.inputs.documents.parent))
        with new_folder(step.outputs.manifest.parent, {"made": settings.dump()}) as folder:
            write_benchmark(settings.kind, documents, settings.documents, settings.seed, folder)


if __name__ == "__main__":
    main()
