# Crates: runs with everything that they were made of, and the report on them alone.


wildcard_constraints:
    archive=NAME,


rule archive:
    input:
        CRATES,
    localrule: True


rule report_selection:
    input:
        lambda wildcards: TARGETS.report_files(archived_runs(wildcards)),
    output:
        page="results/archive/{archive}/report/index.html",
        summary="results/archive/{archive}/report/summary.json",
        tables=[f"results/archive/{{archive}}/report/{table}.csv" for table in TABLES],
        record="results/archive/{archive}/report/index.record.json",
    log:
        "logs/report_selection/{archive}.log",
    benchmark:
        "logs/report_selection/{archive}.benchmark.jsonl"
    conda:
        "../../envs/report.yaml"
    threads: 1
    params:
        step=lambda wildcards: step("report", selection_settings(wildcards)),
    shell:
        "python -m bld.stages.report"
        " --step {params.step:q}"
        " --report results/archive/{wildcards.archive}/report"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"


rule write_crate:
    input:
        report="results/archive/{archive}/report/index.record.json",
    output:
        crate="results/archive/{archive}.crate.zip",
        record="results/archive/{archive}.crate.record.json",
    log:
        "logs/write_crate/{archive}.log",
    benchmark:
        "logs/write_crate/{archive}.benchmark.jsonl"
    # On the login node there is git, and it takes seconds.
    localrule: True
    conda:
        "../../envs/archive.yaml"
    threads: 1
    params:
        step=lambda wildcards: step("archive", archive_settings(wildcards)),
    shell:
        "python -m bld.stages.archive"
        " --step {params.step:q}"
        " --report {input.report:q}"
        " --crate {output.crate:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"
