"""Say what the configuration will cost before anything is spent; exit 1 if it cannot work."""

from __future__ import annotations

from pathlib import Path

from bld.config.settings import Settings
from bld.pipeline.plan.costs import make_plan
from bld.pipeline.plan.jobs import limits_of
from bld.pipeline.plan.page import print_plan
from bld.pipeline.step_parser import StepParser


def main() -> None:
    """Print the plan of the configuration in the settings, under the limits beside it."""
    parser = StepParser(__doc__)
    parser.add_argument("--working-folder", type=Path, required=True, help="where results/ lies")
    arguments = parser.parse_args()
    settings = arguments.step.settings
    limits = {
        rule: {name: limits_of(attempts) for name, attempts in jobs.items()}
        for rule, jobs in settings["limits"].items()
    }
    try:
        plan = make_plan(
            Settings.model_validate(settings["configuration"]), limits, arguments.working_folder
        )
    except ValueError as error:
        raise SystemExit(f"There is too little known to plan:\n{error}") from None
    print_plan(plan)
    if plan.refusals:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
