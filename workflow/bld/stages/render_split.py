"""Render a split for a student, or for a model from scratch, once for all trainings of it."""

from __future__ import annotations

from bld.documents.rendering import render_split
from bld.pipeline.step import File, Files, Folder, stage
from bld.pipeline.step_settings import RenderSplit


class Inputs(Files):
    documents: File
    model: Folder


class Outputs(Files):
    manifest: File


def main() -> None:
    """Write the arrays into the folder of the manifest."""
    with stage(RenderSplit, Inputs, Outputs) as step:
        render_split(
            step.inputs.documents.parent,
            step.inputs.model,
            step.settings.rendering,
            step.outputs.manifest.parent,
        )


if __name__ == "__main__":
    main()
