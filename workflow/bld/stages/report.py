"""Bring all runs together: the tables, the figures and the page that shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bld.provenance.step import step_parser
from bld.reporting.inputs import RunInputs
from bld.reporting.report import build_report
from bld.reporting.teacher_bytes import CacheInputs


def main() -> None:
    """Write every file of the report."""
    parser = step_parser(__doc__)
    parser.add_argument(
        "--results", type=Path, required=True, help="folder of runs and evaluations"
    )
    parser.add_argument("--report", type=Path, required=True, help="folder of the report")
    arguments = parser.parse_args()
    settings = arguments.step.settings
    baselines_first = sorted(
        settings["runs"].items(), key=lambda x: (x[1]["method"] != "sft", x[0])
    )
    runs = [
        run_inputs(name, run, settings["tasks"], arguments.results) for name, run in baselines_first
    ]
    caches = [cache_inputs(cache, arguments.results) for cache in settings["caches"]]
    build_report(runs, caches, settings["title"], arguments.report)


def run_inputs(name: str, run: dict[str, Any], tasks: list[str], results: Path) -> RunInputs:
    """The files of one run, by the names that the rules give them."""
    folder = results / "runs" / name
    judged_on = Path(run["corpus"], run["validation_split"], "bits_per_byte.json")
    evaluations = results / "evaluation"
    student = evaluations / "students" / run["student"] / judged_on
    teacher = evaluations / "teachers" / str(run["teacher"]) / judged_on
    measured = [task for task in tasks if run["teacher"] or task != "byte_divergence"]
    return RunInputs(
        name=name,
        method=run["method"],
        head=run["bld"]["head"] if run["method"] == "bld" else None,
        seed=run["seed"],
        student=run["student"],
        teacher=run["teacher"],
        corpus=run["corpus"],
        settings=run,
        metrics=folder / "metrics.parquet",
        training=folder / "training.json",
        evaluation={task: folder / "evaluation" / f"{task}.json" for task in measured},
        student_evaluation={"bits_per_byte": student},
        teacher_evaluation={"bits_per_byte": teacher} if run["teacher"] else None,
    )


def cache_inputs(cache: tuple[str, str, str], results: Path) -> CacheInputs:
    """What was measured of one byte cache (teacher, corpus, split), by the names that the rules
    give the files."""
    teacher, corpus, split = cache
    folder = results / "teachers" / teacher / corpus / split
    return CacheInputs(teacher, corpus, split, folder / "audit.json", folder / "information.json")


if __name__ == "__main__":
    main()
