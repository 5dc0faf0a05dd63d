# What the report shows, and the report of what there is where something failed.

import json
import subprocess
import tempfile
from pathlib import Path


def compared():
    """Whether two runs can be compared: one is plain fine-tuning, the other is not, and all else is shared."""
    pairs = {True: set(), False: set()}
    for run in SETTINGS.runs.values():
        pairs[run.method == "sft"].add((run.student, run.corpus, run.seed))
    return bool(pairs[True] & pairs[False])


IS_TAUGHT = any(run.teacher for run in SETTINGS.runs.values())
# What is drawn and under which heading; the captions are workflow/report/{figure}.rst, on the page and in Snakemake's report.
FIGURES = {
    **({"comparison": "Differences from SFT"} if compared() else {}),
    "bits_per_byte": "Bits per byte",
    "bits_per_byte_by_kind": "Bits per byte by kind of document",
    **({"benchmarks": "Benchmarks"} if SETTINGS.benchmarks else {}),
    "loss": "Training losses",
    "costs": "What trainings took",
}
if IS_TAUGHT and "byte_divergence" in SETTINGS.evaluation.tasks:
    FIGURES["divergence"] = "Distance to the teacher"
    FIGURES["reliability"] = "Whether they know what they know"
# Only where a run learns from a teacher's bytes is there something to say of them.
if CACHES:
    FIGURES["audit"] = "How faithful the byte caches are"
    FIGURES["information"] = "What bytes tell of a token"
TABLES = [
    *("models", "comparison", "benchmarks", "costs", "bits_per_byte", "loss", "divergence"),
    *("calibration", "settings", "completions", "surprise"),
    *("caches", "audit", "audit_worst", "information"),
]


def report_figures():
    """The headings and captions of the figures."""
    captions = {name: f"{workflow.basedir}/workflow/report/{name}.rst" for name in FIGURES}
    return {
        name: {
            "title": title,
            "caption": " ".join(Path(captions[name]).read_text(encoding="utf-8").split()),
        }
        for name, title in FIGURES.items()
    }


REPORT_STEP = step("report", report_settings())


def report_what_there_is():
    """After a failure, make the page of what there is: by a Snakemake of its own, so in its rule's environment."""
    is_wanted = any(job.rule.name == "report" for job in workflow.dag.jobs)
    if not (is_wanted and any(os.path.exists(run_files(run)["training"]) for run in SETTINGS.runs)):
        return
    deployment = workflow.deployment_settings
    methods = sorted(str(method) for method in deployment.deployment_method)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as settings:
        json.dump(config, settings)
        settings.flush()
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "report_so_far", "--cores", "1", "--no-hooks"]
            + [
                "--snakefile",
                workflow.main_snakefile,
                "--configfile",
                settings.name,
                "--quiet",
                "all",
            ]
            + ["--software-deployment-method", *methods] * bool(methods)
            + ["--conda-prefix", str(deployment.conda_prefix)] * bool(deployment.conda_prefix)
        )
    if done.returncode == 0:
        print(f"\nNot everything was made. The report of what there is: {os.path.abspath(REPORT)}")
