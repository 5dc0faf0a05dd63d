# Crates: runs with everything that they were made of, and the report on them alone; model cards.

from snakemake import __version__ as SNAKEMAKE_VERSION

from bld.publishing.selection import Selection

SELECTION = Selection(TARGETS, SNAKEMAKE_VERSION)


wildcard_constraints:
    archive=NAME,


rule archive:
    input:
        SELECTION.crates,
    localrule: True


rule report_selection:
    input:
        lambda wildcards: TARGETS.report_files(SELECTION.runs(wildcards.archive)),
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
        step=lambda wildcards: step(
            "report",
            report_settings(
                SETTINGS.archives[wildcards.archive].title, SELECTION.runs(wildcards.archive)
            ),
        ),
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
        step=lambda wildcards: step("archive", SELECTION.archive_settings(wildcards)),
    shell:
        "python -m bld.stages.archive"
        " --step {params.step:q}"
        " --report {input.report:q}"
        " --crate {output.crate:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"


# The model card of every trained student, for whoever gets the model alone.
rule write_card:
    input:
        unpack(SELECTION.card_report),
        model="results/runs/{run}/model/manifest.json",
        training="results/runs/{run}/training.json",
        training_record="results/runs/{run}/model/manifest.record.json",
        crate=SELECTION.card_crate,
        made_from=SELECTION.card_made_from,
    output:
        card="results/runs/{run}/model/README.md",
        record="results/runs/{run}/model/README.record.json",
    log:
        "logs/write_card/{run}.log",
    benchmark:
        "logs/write_card/{run}.benchmark.jsonl"
    localrule: True
    conda:
        "../../envs/data.yaml"
    threads: 1
    params:
        step=lambda wildcards: step("write_card", SELECTION.card_settings(wildcards)),
    shell:
        "python -m bld.stages.write_card"
        " --step {params.step:q}"
        " --model {input.model:q}"
        " --training {input.training:q}"
        " --training-record {input.training_record:q}"
        " --summary {input.summary:q}"
        " --crate {input.crate:q}"
        " --made-from {input.made_from:q}"
        " --card {output.card:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"
