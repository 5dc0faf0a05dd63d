"""Take a model or a data set from a folder on disk: links to its files, their digests and their licence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bld.folders import link_files, new_folder
from bld.hub import licence_of
from bld.provenance.step import step_parser


def main() -> None:
    """Link into the folder of the manifest."""
    parser = step_parser(__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    arguments = parser.parse_args()
    about: dict[str, Any] = {"source": arguments.step.settings}
    with new_folder(arguments.manifest.parent, about) as folder:
        link_files(Path(arguments.step.settings["path"]), folder)
        about["licence"] = licence_of(folder)


if __name__ == "__main__":
    main()
