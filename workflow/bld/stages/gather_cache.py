"""Check that every shard of a byte cache is there, whole and of its teacher and documents, and write
the manifest."""

from __future__ import annotations

from bld.cache.gathering import write_manifest
from bld.pipeline.step import StepParser


def main() -> None:
    """Write the manifest of the cache."""
    parser = StepParser(__doc__)
    parser.reads("--documents", help="manifest of the split")
    parser.reads("--teacher", nargs="+", help="manifest of its model, or of several")
    parser.writes("--manifest")
    with parser.recorded() as arguments:
        shards = write_manifest(
            arguments.manifest.parent,
            arguments.documents.parent,
            arguments.teacher,
            arguments.step.settings,
        )
        arguments.record.knows(shards)


if __name__ == "__main__":
    main()
