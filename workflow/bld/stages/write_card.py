"""Write the model card of a trained student, from the report and the archive that tell of its
run."""

from __future__ import annotations

from pathlib import Path

from bld.pipeline.step import File, Files, OptionalFile, stage
from bld.pipeline.step_settings import WriteCard
from bld.publishing.card.card import CardInputs, write_card


class Inputs(Files):
    """`model`: the manifest of the student's folder; `training` and `training_record`: what its
    training took and the record of it; `summary` and `tables`: of a report on its run; `crate`:
    that of an archive of this report, if there is one; `made_from`: manifests of models, documents
    and data sets."""

    model: File
    training: File
    training_record: File
    summary: File
    tables: list[Path]
    crate: OptionalFile
    made_from: list[Path]


class Outputs(Files):
    """The card."""

    card: File


def main() -> None:
    """Write the card into the student's folder."""
    with stage(WriteCard, Inputs, Outputs) as step:
        files = step.inputs
        inputs = CardInputs(
            step.settings,
            files.model,
            files.training,
            files.training_record,
            files.made_from,
            files.summary.parent,
            files.crate,
        )
        try:
            write_card(inputs, step.outputs.card)
        except ValueError as error:
            raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
