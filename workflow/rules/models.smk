# Models from scratch, for demonstrations: once made, nothing tells them from fetched ones.


rule train_tokenizer:
    input:
        documents=TARGETS.scratch_documents,
    output:
        manifest="resources/tokenizers/{model}/manifest.json",
        record="resources/tokenizers/{model}/manifest.record.json",
    log:
        "logs/train_tokenizer/{model}.log",
    benchmark:
        "logs/train_tokenizer/{model}.benchmark.jsonl"
    wildcard_constraints:
        model=one_of(TARGETS.scratch_models),
    conda:
        "../../envs/data.yaml"
    threads: 1
    params:
        step=lambda wildcards: step("train_tokenizer", tokenizer_settings(wildcards)),
    shell:
        "python -m bld.stages.train_tokenizer"
        " --step {params.step:q}"
        " --documents {input.documents:q}"
        " --manifest {output.manifest:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"


rule pretrain:
    input:
        documents=TARGETS.scratch_documents,
        tokenizer="resources/tokenizers/{model}/manifest.json",
    output:
        manifest="resources/models/{model}/manifest.json",
        record="resources/models/{model}/manifest.record.json",
    log:
        "logs/pretrain/{model}.log",
    benchmark:
        "logs/pretrain/{model}.benchmark.jsonl"
    wildcard_constraints:
        model=one_of(TARGETS.scratch_models),
    conda:
        "../../envs/train.yaml"
    threads: 8
    resources:
        runtime=240,
        checkpoint_minutes=10,
        tracker=lambda wildcards: SETTINGS.models[wildcards.model].scratch.training.tracker,
        nodes=1,
        gpu=1,
    params:
        step=lambda wildcards: step("pretrain", pretrain_settings(wildcards)),
    shell:
        "python -m bld.pipeline.launch --nodes {resources.nodes} --processes {resources.gpu} -m bld.stages.pretrain"
        " --step {params.step:q}"
        " --documents {input.documents:q}"
        " --tokenizer {input.tokenizer:q}"
        " --manifest {output.manifest:q}"
        " --checkpoints checkpoints/pretrain/{wildcards.model}"
        " --tracker {resources.tracker}"
        " --events logs/tensorboard/pretrain/{wildcards.model}"
        " --runtime {resources.runtime}"
        " --checkpoint-minutes {resources.checkpoint_minutes}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"
