"""Take a model or a data set from a folder on disk: links to its files, their digests and their
licence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bld.config.template_checks import add_asked_by, check_template
from bld.files import read_manifest
from bld.folders import link_files, new_folder
from bld.hub import licence_of
from bld.kinds import check_folder
from bld.pipeline.step import File, Files, stage
from bld.pipeline.step_settings import Link
from bld.privacy import anonymised
from bld.tokenization.loading import check_tokenizer


class Outputs(Files):
    manifest: File


def main() -> None:
    """Link into the folder of the manifest."""
    with stage(Link, Files, Outputs, add_asked_by) as step:
        about: dict[str, Any] = {"source": anonymised(step.settings.dump())}
        source = Path(step.settings.path)
        with new_folder(step.outputs.manifest.parent, about) as folder:
            link_files(source, folder)
            try:
                if step.settings.weights:
                    check_folder(folder, str(source), step.settings.trust_remote_code)
                if step.settings.weights is not None:
                    check_tokenizer(folder, str(source), step.settings.trust_remote_code)
                check_template(folder, str(source), step.options.asked_by)
            except ValueError as error:
                raise SystemExit(str(error)) from None
            about["licence"] = licence_of(folder)
        files = read_manifest(step.outputs.manifest)["files"]
        digests = {source / name: file["sha256"] for name, file in files.items()}
        step.record.knows(digests, outside=True)


if __name__ == "__main__":
    main()
