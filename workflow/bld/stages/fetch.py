"""Fetch a model or a data set from the Hugging Face hub, once, at a pinned commit."""

from __future__ import annotations

import shutil
from pathlib import Path

from huggingface_hub import snapshot_download

from bld.folders import new_folder
from bld.provenance.step import step_parser

UNKNOWN_REVISION = "0" * 40
TOKENIZER_FILES = ["*.json", "*.model", "*.txt", "*.jinja", "LICENSE*", "README.md"]


def main() -> None:
    """Fetch into the folder of the manifest."""
    parser = step_parser(__doc__)
    parser.add_argument("--kind", choices=["model", "dataset"], required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    arguments = parser.parse_args()
    settings = arguments.step.settings
    if settings["revision"] == UNKNOWN_REVISION:
        raise SystemExit(
            f"{settings['hub']}: the revision in the configuration is a placeholder (40 zeros). Look up the commit on the "
            "repository's page, under 'Files and versions', then 'History', and write it there"
        )
    files = settings.get("files") or [
        *TOKENIZER_FILES,
        *["*.safetensors"] * settings["weights"],
        *["*.py"] * settings["trust_remote_code"],
    ]
    with new_folder(arguments.manifest.parent, {"source": settings}) as folder:
        snapshot_download(
            settings["hub"],
            repo_type=arguments.kind,
            revision=settings["revision"],
            allow_patterns=files,
            local_dir=folder,
        )
        # The hub client's notes hold times, and the same commit must give the same manifest.
        shutil.rmtree(folder / ".cache", ignore_errors=True)


if __name__ == "__main__":
    main()
