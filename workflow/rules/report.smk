# The page at the end, its figures and the data behind them.

# Only where a run learns from a teacher's bytes is there something to say of them.
BYTES_TABLES = ["audit", "information"] if CACHES else []
BYTES_FIGURES = {}
if CACHES:
    BYTES_FIGURES["information"] = report(
        "results/report/information.svg",
        caption="../report/information.rst",
        category="Figures",
        labels={"what": "what bytes tell of tokens"},
    )


rule report:
    input:
        report_inputs,
    output:
        **BYTES_FIGURES,
        page=report(
            REPORT, caption="../report/index.rst", category="Report", labels={"what": "page"}
        ),
        summary="results/report/summary.json",
        tables=expand(
            "results/report/{table}.csv",
            table=["runs", "comparison", "loss", "bits_per_byte", *BYTES_TABLES],
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
    conda:
        "../../envs/report.yaml"
    threads: 1
    params:
        step=step("report", report_settings()),
    shell:
        "python -m bld.stages.report"
        " --step {params.step:q}"
        " --results results"
        " --report results/report"
        " 2>&1 | tee {log:q}"
