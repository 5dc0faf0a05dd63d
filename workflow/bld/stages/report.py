"""Bring all runs together: the tables, the figures and the page that shows them."""

from __future__ import annotations

from pathlib import Path

from bld.provenance.step import step_parser
from bld.reporting.inputs import RunInputs
from bld.reporting.report import Figure, build_report
from bld.reporting.teacher_bytes import CacheInputs


def main() -> None:
    """Write every file of the report."""
    parser = step_parser(__doc__)
    parser.add_argument("--report", type=Path, required=True, help="folder of the report")
    arguments = parser.parse_args()
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
    figures = {name: Figure(**figure) for name, figure in settings["figures"].items()}
    build_report(runs, caches, figures, settings["title"], arguments.report)


def _paths(files: dict[str, str]) -> dict[str, Path]:
    return {name: Path(path) for name, path in files.items()}


if __name__ == "__main__":
    main()
