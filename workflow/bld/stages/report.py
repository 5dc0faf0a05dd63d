"""Bring all runs together: the tables, the figures and the page that shows them."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from pydantic import Field

from bld.pipeline.step import File, Files, OptionalFile, stage
from bld.pipeline.step_settings import Report
from bld.reporting.inputs import CacheInputs, RunInputs
from bld.reporting.report_page import build_report
from bld.reporting.words import BASELINE


class Outputs(Files):
    """The page; with all else in its folder, of which a rule may name some."""

    page: File
    summary: OptionalFile = None
    tables: list[Path] = Field([])
    figures: list[Path] = Field([])
    captions: list[Path] = Field([])


def main() -> None:
    """Write every file of the report. What it reads may be missing, so the settings name it."""
    with stage(Report, Files, Outputs) as step:
        settings = step.settings
        baselines_first = sorted(
            settings.runs.items(), key=lambda run: (run[1].settings.method != BASELINE, run[0])
        )
        runs = [RunInputs(name, **dict(run)) for name, run in baselines_first]
        caches = [CacheInputs(**dict(cache)) for cache in settings.caches]
        files = chain(
            *(one.files.values() for one in runs),
            *(one.files.values() for one in caches),
            settings.splits.values(),
        )
        step.record.reads(path for path in files if path.exists())
        folder = step.outputs.page.parent
        shown = settings.figures, settings.title
        written = build_report(runs, caches, *shown, folder, settings.splits)
        step.record.writes(written)


if __name__ == "__main__":
    main()
