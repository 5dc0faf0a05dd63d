# What the report shows, and the report of what there is where something failed.

from bld.reporting.registry import Reported, figures_of
from bld.reporting.words import COLUMNS


def reported_figures(names):
    """The figures of the report on these runs, by name."""
    runs = [SETTINGS.runs[name] for name in names]
    caches = TARGETS.caches(with_development=False, runs=names)
    measures = {measure for cache in caches for measure in TARGETS.cache_files(cache)}
    return figures_of(Reported(runs, SETTINGS.evaluation.tasks, SETTINGS.benchmarks, measures))


def report_settings(title, runs):
    """What the report on these runs tells of and where it is found; of settings also those that are not as they are by
    themselves."""
    return {
        "title": title,
        "runs": {
            name: {
                "settings": SETTINGS.runs[name].own(),
                "changed": SETTINGS.runs[name].own(exclude_defaults=True),
                "files": TARGETS.run_files(name),
            }
            for name in runs
        },
        "caches": [
            dict(zip(("teacher", "corpus", "split"), cache)) | {"files": TARGETS.cache_files(cache)}
            for cache in sorted(TARGETS.caches(with_development=False, runs=runs))
        ],
        "figures": list(reported_figures(runs)),
    }


FIGURES = reported_figures(SETTINGS.runs)
TABLES = list(COLUMNS)
REPORT_STEP = step("report", report_settings(SETTINGS.report.title, SETTINGS.runs))
