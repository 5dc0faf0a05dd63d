"""Take a model or a data set from a folder on disk: links to its files, their digests and their licence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bld.files import read_manifest
from bld.folders import link_files, new_folder
from bld.hub import licence_of
from bld.pipeline.step import StepParser
from bld.privacy import anonymised


def main() -> None:
    """Link into the folder of the manifest."""
    parser = StepParser(__doc__)
    parser.writes("--manifest")
    with parser.recorded() as arguments:
        about: dict[str, Any] = {"source": anonymised(arguments.step.settings)}
        source = Path(arguments.step.settings["path"])
        with new_folder(arguments.manifest.parent, about) as folder:
            link_files(source, folder)
            about["licence"] = licence_of(folder)
        files = read_manifest(arguments.manifest)["files"]
        digests = {source / name: file["sha256"] for name, file in files.items()}
        arguments.record.knows(digests, outside=True)


if __name__ == "__main__":
    main()
