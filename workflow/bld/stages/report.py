"""Bring all runs together: the tables, the figures and the page that shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bld.pipeline.step_parser import StepParser
from bld.reporting.inputs import CacheInputs, RunInputs
from bld.reporting.report_page import build_report


def main() -> None:
    """Write every file of the report."""
    parser = StepParser(__doc__)
    parser.add_argument("--report", type=Path, required=True, help="folder of the report")
    with parser.recorded() as arguments:
        settings = arguments.step.settings
        baselines_first = sorted(
            settings["runs"].items(), key=lambda x: (x[1]["settings"]["method"] != "sft", x[0])
        )
        runs = [
            RunInputs(name, run["settings"], _paths(run["files"]), run["changed"])
            for name, run in baselines_first
        ]
        caches = [
            CacheInputs(**cache | {"files": _paths(cache["files"])}) for cache in settings["caches"]
        ]
        arguments.record.reads(path for path in _files(settings) if path.exists())
        title, figures = settings["title"], settings["figures"]
        arguments.record.writes(build_report(runs, caches, figures, title, arguments.report))


def _paths(files: dict[str, str]) -> dict[str, Path]:
    return {name: Path(path) for name, path in files.items()}


def _files(settings: dict[str, Any]) -> Iterator[Path]:
    for told_of in (*settings["runs"].values(), *settings["caches"]):
        yield from _paths(told_of["files"]).values()


if __name__ == "__main__":
    main()
