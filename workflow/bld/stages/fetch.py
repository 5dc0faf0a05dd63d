"""Fetch a model or a data set from the Hugging Face hub, once, at a pinned commit."""

from __future__ import annotations

from typing import Any

from bld.config.template_checks import add_asked_by, check_template
from bld.folders import new_folder
from bld.hub import fetch, licence_of
from bld.kinds import check_folder
from bld.pipeline.step import File, Files, stage
from bld.pipeline.step_settings import Fetch
from bld.tokenization.loading import check_tokenizer

MODEL_FILES = ["*.json", "*.model", "*.txt", "*.jinja"]


class Outputs(Files):
    manifest: File


def main() -> None:
    """Fetch into the folder of the manifest."""
    with stage(Fetch, Files, Outputs, add_asked_by) as step:
        settings = step.settings
        kind = "model" if settings.files is None else "dataset"
        files = settings.files or [
            *MODEL_FILES,
            *["*.safetensors"] * settings.weights,
            *["*.py"] * settings.trust_remote_code,
        ]
        about: dict[str, Any] = {"source": settings.dump()}
        with new_folder(step.outputs.manifest.parent, about) as folder:
            try:
                fetch(settings.hub, settings.revision, kind, files, folder)
                if settings.weights:
                    check_folder(folder, settings.hub, settings.trust_remote_code)
                if kind == "model":
                    check_tokenizer(folder, settings.hub, settings.trust_remote_code)
                check_template(folder, settings.hub, step.options.asked_by)
            except ValueError as error:
                raise SystemExit(str(error)) from None
            about["licence"] = licence_of(folder)


if __name__ == "__main__":
    main()
