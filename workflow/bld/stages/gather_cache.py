"""Check that every shard of a byte cache is there, whole and of its teacher and documents, and write
the manifest."""

from __future__ import annotations

from pathlib import Path

from bld.provenance.step import step_parser
from bld.teacher.gathering import write_manifest


def main() -> None:
    """Write the manifest of the cache."""
    parser = step_parser(__doc__)
    parser.add_argument("--documents", type=Path, required=True, help="manifest of the split")
    parser.add_argument("--teacher", type=Path, required=True, help="manifest of the teacher")
    parser.add_argument("--manifest", type=Path, required=True)
    arguments = parser.parse_args()
    write_manifest(
        arguments.manifest.parent,
        arguments.documents.parent,
        arguments.teacher,
        arguments.step.settings,
    )


if __name__ == "__main__":
    main()
