# The page at the end, its figures and the data behind them.

from bld.pipeline.step import files_line
from bld.reporting.words import COLUMNS


rule report:
    input:
        TARGETS.report_files(SETTINGS.runs),
    output:
        page=report(
            REPORT, caption="../report/index.rst", category="Report", labels={"what": "page"}
        ),
        summary="results/report/summary.json",
        tables=expand("results/report/{table}.csv", table=COLUMNS),
        figures=[
            report(
                f"results/report/{name}.svg",
                # The caption is written with the figure.
                caption=os.path.abspath(f"results/report/{name}.rst"),
                category="Figures",
                labels={"figure": figure.title},
            )
            for name, figure in SELECTION.figures.items()
        ],
        captions=[f"results/report/{name}.rst" for name in SELECTION.figures],
        record="results/report/index.record.json",
    log:
        "logs/report.log",
    benchmark:
        "logs/report.benchmark.jsonl"
    conda:
        "../../envs/report.yaml"
    threads: 1
    params:
        stage="report",
        step=SELECTION.report,
        files=files,
    shell:
        RUN


# The same page from what there is, whatever else is running or has failed. It names no files, so it
# takes no lock and runs whenever it is asked for.
rule report_so_far:
    log:
        "logs/report_so_far.log",
    retries: 0
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    params:
        stage="report",
        step=SELECTION.report,
        files=files_line({}, {"page": REPORT}),
    shell:
        RUN
