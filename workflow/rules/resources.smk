# What comes from outside: fetched once at a pinned commit, or linked from a folder on disk.


rule fetch:
    # What the login node, with its internet, has to do for all others.
    input:
        TARGETS.fetched(),
    localrule: True


rule fetch_model:
    output:
        manifest="resources/models/{model}/manifest.json",
        record="resources/models/{model}/manifest.record.json",
    log:
        "logs/fetch_model/{model}.log",
    benchmark:
        "logs/fetch_model/{model}.benchmark.jsonl"
    wildcard_constraints:
        model=one_of(TARGETS.hub_models),
    localrule: True
    conda:
        "../../envs/data.yaml"
    threads: 1
    params:
        step=lambda wildcards: step(
            "fetch",
            SETTINGS.models[wildcards.model].model_dump(
                include={"hub", "revision", "weights", "trust_remote_code"}
            ),
        ),
    shell:
        "HF_HUB_OFFLINE=0 HF_HUB_DISABLE_PROGRESS_BARS=0 python -m bld.stages.fetch"
        " --kind model"
        " --step {params.step:q}"
        " --manifest {output.manifest:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"


rule fetch_dataset:
    output:
        manifest="resources/datasets/{dataset}/manifest.json",
        record="resources/datasets/{dataset}/manifest.record.json",
    log:
        "logs/fetch_dataset/{dataset}.log",
    benchmark:
        "logs/fetch_dataset/{dataset}.benchmark.jsonl"
    wildcard_constraints:
        dataset=one_of(TARGETS.hub_datasets),
    localrule: True
    conda:
        "../../envs/data.yaml"
    threads: 1
    params:
        step=lambda wildcards: step(
            "fetch",
            SETTINGS.datasets[wildcards.dataset].model_dump(include={"hub", "revision", "files"}),
        ),
    shell:
        "HF_HUB_OFFLINE=0 HF_HUB_DISABLE_PROGRESS_BARS=0 python -m bld.stages.fetch"
        " --kind dataset"
        " --step {params.step:q}"
        " --manifest {output.manifest:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"


rule link_model:
    input:
        TARGETS.linked_model,
    output:
        manifest="resources/models/{model}/manifest.json",
        record="resources/models/{model}/manifest.record.json",
    log:
        "logs/link_model/{model}.log",
    benchmark:
        "logs/link_model/{model}.benchmark.jsonl"
    wildcard_constraints:
        model=one_of(TARGETS.path_models),
    localrule: True
    conda:
        "../../envs/data.yaml"
    threads: 1
    params:
        step=lambda wildcards: step(
            "link", SETTINGS.models[wildcards.model].model_dump(include={"path"})
        ),
    shell:
        "python -m bld.stages.link"
        " --step {params.step:q}"
        " --manifest {output.manifest:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"


rule link_dataset:
    input:
        TARGETS.linked_dataset,
    output:
        manifest="resources/datasets/{dataset}/manifest.json",
        record="resources/datasets/{dataset}/manifest.record.json",
    log:
        "logs/link_dataset/{dataset}.log",
    benchmark:
        "logs/link_dataset/{dataset}.benchmark.jsonl"
    wildcard_constraints:
        dataset=one_of(TARGETS.path_datasets),
    localrule: True
    conda:
        "../../envs/data.yaml"
    threads: 1
    params:
        step=lambda wildcards: step(
            "link", SETTINGS.datasets[wildcards.dataset].model_dump(include={"path"})
        ),
    shell:
        "python -m bld.stages.link"
        " --step {params.step:q}"
        " --manifest {output.manifest:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"
