# The page at the end, its figures and the data behind them.


def measured(run):
    """What is measured of a run; without a teacher there is no divergence from one."""
    tasks = SETTINGS.evaluation.tasks
    return [task for task in tasks if SETTINGS.runs[run].teacher or task != "byte_divergence"]


def report_inputs(wildcards):
    files = []
    for name, run in SETTINGS.runs.items():
        judged_on = f"{run.corpus}/{run.validation_split}/bits_per_byte.json"
        files += [f"results/runs/{name}/{file}" for file in ("metrics.parquet", "training.json")]
        files += [f"results/runs/{name}/evaluation/{task}.json" for task in measured(name)]
        files += [f"results/evaluation/students/{run.student}/{judged_on}"]
        if run.teacher:
            files += [f"results/evaluation/teachers/{run.teacher}/{judged_on}"]
    return sorted(set(files))


rule report:
    input:
        report_inputs,
    output:
        page=report(
            REPORT, caption="../report/index.rst", category="Report", labels={"what": "page"}
        ),
        summary="results/report/summary.json",
        tables=expand(
            "results/report/{table}.csv", table=["runs", "comparison", "loss", "bits_per_byte"]
        ),
        loss=report(
            "results/report/loss.svg",
            caption="../report/loss.rst",
            category="Figures",
            labels={"what": "losses"},
        ),
        bits_per_byte=report(
            "results/report/bits_per_byte.svg",
            caption="../report/bits_per_byte.rst",
            category="Figures",
            labels={"what": "bits per byte"},
        ),
        by_kind=report(
            "results/report/bits_per_byte_by_kind.svg",
            caption="../report/bits_per_byte_by_kind.rst",
            category="Figures",
            labels={"what": "bits per byte by kind of document"},
        ),
    log:
        "logs/report.log",
    benchmark:
        "logs/report.benchmark.jsonl"
    params:
        step=step(
            "report",
            {
                "title": SETTINGS.report.title,
                "tasks": SETTINGS.evaluation.tasks,
                "runs": {name: run.model_dump() for name, run in SETTINGS.runs.items()},
            },
        ),
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    shell:
        "python -m bld.stages.report"
        " --step {params.step:q}"
        " --results results"
        " --report results/report"
        " 2>&1 | tee {log:q}"
