"""Write the model card of a trained student, from the report and the archive that tell of its
run."""

from __future__ import annotations

from pathlib import Path

from bld.pipeline.step_parser import StepParser
from bld.publishing.card.card import CardInputs, write_card
from bld.publishing.card.results import TABLES


def main() -> None:
    """Write the card into the student's folder."""
    parser = StepParser(__doc__)
    parser.reads("--model", help="manifest of the student's folder")
    parser.reads("--training", help="what its training took")
    parser.reads("--training-record", help="record of its training")
    parser.reads("--summary", help="summary.json of a report on its run")
    parser.reads("--crate", nargs="?", help="crate of the archive of that report, if it has one")
    parser.add_argument(
        "--made-from", type=Path, nargs="+", help="manifests of models, documents and data sets"
    )
    parser.writes("--card")
    with parser.recorded() as arguments:
        tables = (arguments.summary.with_name(f"{table}.csv") for table in TABLES)
        arguments.record.reads([*arguments.made_from, *tables])
        inputs = CardInputs(
            arguments.step.settings,
            arguments.model,
            arguments.training,
            arguments.training_record,
            arguments.made_from,
            arguments.summary.parent,
            arguments.crate,
        )
        try:
            write_card(inputs, arguments.card)
        except ValueError as error:
            raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
