"""Take a model or a data set from a folder on disk: links to its files, and their digests."""

from __future__ import annotations

from pathlib import Path

from bld.folders import link_files, new_folder
from bld.provenance.step import step_parser


def main() -> None:
    """Link into the folder of the manifest."""
    parser = step_parser(__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    arguments = parser.parse_args()
    with new_folder(arguments.manifest.parent, {"source": arguments.step.settings}) as folder:
        link_files(Path(arguments.step.settings["path"]), folder)


if __name__ == "__main__":
    main()
