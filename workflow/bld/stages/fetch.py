"""Fetch a model or a data set from the Hugging Face hub, once, at a pinned commit."""

from __future__ import annotations

from typing import Any

from bld.folders import new_folder
from bld.hub import CARD, LICENCE_FILES, fetch, licence_of
from bld.pipeline.step import StepParser

MODEL_FILES = ["*.json", "*.model", "*.txt", "*.jinja", CARD, *LICENCE_FILES]


def main() -> None:
    """Fetch into the folder of the manifest."""
    parser = StepParser(__doc__)
    parser.add_argument("--kind", choices=["model", "dataset"], required=True)
    parser.writes("--manifest")
    with parser.recorded() as arguments:
        settings = arguments.step.settings
        files = settings.get("files") or [
            *MODEL_FILES,
            *["*.safetensors"] * settings["weights"],
            *["*.py"] * settings["trust_remote_code"],
        ]
        about: dict[str, Any] = {"source": settings}
        with new_folder(arguments.manifest.parent, about) as folder:
            try:
                fetch(settings["hub"], settings["revision"], arguments.kind, files, folder)
            except ValueError as error:
                raise SystemExit(str(error)) from None
            about["licence"] = licence_of(folder)


if __name__ == "__main__":
    main()
