"""Check that every shard of a byte cache is there, whole and of its teacher and documents, and
write the manifest."""

from __future__ import annotations

from bld.cache.gathering import write_manifest
from bld.pipeline.step import File, Files, stage
from bld.pipeline.step_settings import GatherCache


class Inputs(Files):
    documents: File
    teacher: list[File]


class Outputs(Files):
    manifest: File


def main() -> None:
    """Write the manifest of the cache."""
    with stage(GatherCache, Inputs, Outputs) as step:
        shards = write_manifest(
            step.outputs.manifest.parent,
            step.inputs.documents.parent,
            step.inputs.teacher,
            step.settings.dump(),
        )
        step.record.knows(shards)


if __name__ == "__main__":
    main()
