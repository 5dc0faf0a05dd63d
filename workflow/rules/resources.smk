# What comes from outside: fetched once at a pinned commit, or linked from a folder on disk; and
# documents made of it.


# What the login node, with its internet, has to do for all others.
rule fetch:
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
    resources:
        asked_by=TARGETS.template_asked_by,
    params:
        stage="fetch",
        step=STEPS.fetch,
        files=files,
    shell:
        FETCH


use rule fetch_model as fetch_dataset with:
    output:
        manifest="resources/datasets/{dataset}/manifest.json",
        record="resources/datasets/{dataset}/manifest.record.json",
    log:
        "logs/fetch_dataset/{dataset}.log",
    benchmark:
        "logs/fetch_dataset/{dataset}.benchmark.jsonl"
    wildcard_constraints:
        dataset=one_of(TARGETS.hub_datasets),
    params:
        stage="fetch",
        step=STEPS.fetch,
        files=files,


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
    resources:
        asked_by=TARGETS.template_asked_by,
    params:
        stage="link",
        step=STEPS.link,
        files=files,
    shell:
        LINK


use rule link_model as link_dataset with:
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
    params:
        stage="link",
        step=STEPS.link,
        files=files,


# Each split is a job of its own, so that what is asked of one split makes no other stale. Where a
# document falls is decided by the fractions of the splits up to its own. The shards are named in
# the manifest, with their digests: there may be thousands.
rule build_split:
    input:
        TARGETS.corpus_source,
        judges=TARGETS.corpus_judges,
    output:
        manifest="results/corpora/{corpus}/{split}/manifest.json",
        record="results/corpora/{corpus}/{split}/manifest.record.json",
    log:
        "logs/build_split/{corpus}/{split}.log",
    benchmark:
        "logs/build_split/{corpus}/{split}.benchmark.jsonl"
    conda:
        "../../envs/data.yaml"
    threads: 1
    params:
        stage="build_split",
        step=STEPS.build_split,
        files=files,
    shell:
        RUN
