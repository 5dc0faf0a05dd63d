# Crates: runs with everything that they were made of, and the report on them alone; model cards.


wildcard_constraints:
    archive=NAME,


rule archive:
    input:
        SELECTION.crates,
    localrule: True


rule report_selection:
    input:
        SELECTION.reported,
    output:
        page="results/archive/{archive}/report/index.html",
        summary="results/archive/{archive}/report/summary.json",
        tables=[f"results/archive/{{archive}}/report/{table}.csv" for table in COLUMNS],
        record="results/archive/{archive}/report/index.record.json",
    log:
        "logs/report_selection/{archive}.log",
    benchmark:
        "logs/report_selection/{archive}.benchmark.jsonl"
    conda:
        "../../envs/report.yaml"
    threads: 1
    params:
        stage="report",
        step=SELECTION.report_selection,
        files=files,
    shell:
        RUN


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
        stage="archive",
        step=SELECTION.archive,
        files=files,
    shell:
        RUN


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
        stage="write_card",
        step=SELECTION.write_card,
        files=files,
    shell:
        RUN
