# What the report shows, and the report of what there is where something failed.

from collections import Counter
from pathlib import Path

from bld.reporting.words import FEWEST


def compared(runs):
    """Whether two runs can be compared: one is plain fine-tuning, the other is not, and all else is shared."""
    pairs = {True: set(), False: set()}
    for run in runs:
        pairs[run.method == "sft"].add((run.student, run.corpus, run.seed))
    return bool(pairs[True] & pairs[False])


def ranked(runs):
    """Whether enough methods share student, documents and a seed."""
    fields = Counter((run.student, run.corpus, run.validation_split, run.seed) for run in runs)
    return max(fields.values()) >= FEWEST


def figures_of(names):
    """What is drawn of these runs and under which heading; the captions are workflow/report/{figure}.rst, on the page and
    in Snakemake's report."""
    runs = [SETTINGS.runs[name] for name in names]
    is_held_against_teacher = "byte_divergence" in SETTINGS.evaluation.tasks and any(
        run.teacher for run in runs
    )
    # Only where a run learns from a teacher's bytes is there something to say of them.
    of_caches = {
        what
        for cache in sorted(TARGETS.caches(with_development=False, runs=names))
        for what in TARGETS.cache_files(cache)
    }
    return {
        **({"comparison": "Differences from SFT"} if compared(runs) else {}),
        **({"ranks": "Ranks over documents"} if ranked(runs) else {}),
        "bits_per_byte": "Bits per byte",
        "bits_per_byte_by_kind": "Bits per byte by kind of document",
        **({"benchmarks": "Benchmarks"} if SETTINGS.benchmarks else {}),
        "loss": "Training losses",
        "costs": "What trainings took",
        **({"divergence": "Distance to the teacher"} if is_held_against_teacher else {}),
        **({"reliability": "Whether they know what they know"} if is_held_against_teacher else {}),
        **({"audit": "How faithful the byte caches are"} if "audit" in of_caches else {}),
        **({"information": "What bytes tell of a token"} if "information" in of_caches else {}),
    }


FIGURES = figures_of(SETTINGS.runs)
TABLES = [
    *("models", "methods", "comparison", "ranks", "benchmarks", "alignment", "costs"),
    *("bits_per_byte", "loss", "divergence"),
    *("calibration", "settings", "completions", "surprise"),
    *("caches", "audit", "audit_worst", "information"),
]


def report_figures(names):
    """The headings and captions of the figures on these runs."""
    captions = f"{workflow.basedir}/workflow/report"
    return {
        figure: {
            "title": title,
            "caption": " ".join(Path(captions, f"{figure}.rst").read_text("utf-8").split()),
        }
        for figure, title in figures_of(names).items()
    }


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
        "figures": report_figures(runs),
    }


REPORT_STEP = step("report", report_settings(SETTINGS.report.title, SETTINGS.runs))
