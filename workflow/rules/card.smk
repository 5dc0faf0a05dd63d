# The model card of every trained student, for whoever gets the model alone.


rule write_card:
    input:
        unpack(card_report),
        model="results/runs/{run}/model/manifest.json",
        training="results/runs/{run}/training.json",
        training_record="results/runs/{run}/model/manifest.record.json",
        crate=card_crate,
        made_from=card_made_from,
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
        step=lambda wildcards: step("write_card", card_settings(wildcards)),
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
