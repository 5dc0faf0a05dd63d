"""Say what the configuration will cost before anything is spent; exit 1 if it cannot work."""

from __future__ import annotations

from pathlib import Path

from bld.pipeline.plan.costs import make_plan
from bld.pipeline.plan.jobs import limits_of
from bld.pipeline.plan.page import print_plan
from bld.pipeline.step import Files, stage
from bld.pipeline.step_settings import Plan


def main() -> None:
    """Print the plan of the configuration in the settings, under the limits beside it, for what the
    current folder has already."""
    with stage(Plan, Files, Files) as step:
        limits = {
            rule: {name: limits_of(resources) for name, resources in jobs.items()}
            for rule, jobs in step.settings.limits.items()
        }
        try:
            plan = make_plan(step.settings.configuration, limits, Path())
        except ValueError as error:
            raise SystemExit(f"There is too little known to plan:\n{error}") from None
        print_plan(plan)
        if plan.refusals:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
