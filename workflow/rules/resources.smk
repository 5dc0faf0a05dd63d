# What comes from outside: fetched once at a pinned commit, or linked from a folder on disk.

HUB_MODELS = [name for name, model in SETTINGS.models.items() if model.hub]
PATH_MODELS = [name for name, model in SETTINGS.models.items() if model.path]
HUB_DATASETS = [name for name, dataset in SETTINGS.datasets.items() if dataset.hub]
PATH_DATASETS = [name for name, dataset in SETTINGS.datasets.items() if dataset.path]


rule fetch:
    # What the login node, with its internet, has to do for all others.
    input:
        [model_folder(name) for name in [*HUB_MODELS, *PATH_MODELS]],
        [f"resources/datasets/{name}/manifest.json" for name in SETTINGS.datasets],
        [f"resources/benchmarks/{name}/manifest.json" for name in HUB_BENCHMARKS],
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
        model=one_of(HUB_MODELS),
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
        dataset=one_of(HUB_DATASETS),
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
        lambda wildcards: linked_files(
            SETTINGS.models[wildcards.model].path, "models", wildcards.model
        ),
    output:
        manifest="resources/models/{model}/manifest.json",
        record="resources/models/{model}/manifest.record.json",
    log:
        "logs/link_model/{model}.log",
    benchmark:
        "logs/link_model/{model}.benchmark.jsonl"
    wildcard_constraints:
        model=one_of(PATH_MODELS),
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
        lambda wildcards: linked_files(
            SETTINGS.datasets[wildcards.dataset].path, "datasets", wildcards.dataset
        ),
    output:
        manifest="resources/datasets/{dataset}/manifest.json",
        record="resources/datasets/{dataset}/manifest.record.json",
    log:
        "logs/link_dataset/{dataset}.log",
    benchmark:
        "logs/link_dataset/{dataset}.benchmark.jsonl"
    wildcard_constraints:
        dataset=one_of(PATH_DATASETS),
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
