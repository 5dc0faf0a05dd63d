# The teacher's byte distributions: one job per shard, or for several (`shards_per_job`, see
# bld/pipeline/grouping.py), then one that checks and counts, and what they are worth. No {run} in
# the names: runs share them.


rule score_teacher:
    input:
        documents="results/corpora/{corpus}/{split}/manifest.json",
        teacher=TARGETS.teacher_models,
    output:
        shard="results/teachers/{teacher}/{corpus}/{split}/{shard}.parquet",
        record="results/teachers/{teacher}/{corpus}/{split}/{shard}.record.json",
    log:
        "logs/score_teacher/{teacher}/{corpus}/{split}/{shard}.log",
    benchmark:
        "logs/score_teacher/{teacher}/{corpus}/{split}/{shard}.benchmark.jsonl"
    conda:
        "../../envs/train.yaml"
    threads: 8
    resources:
        gpu=1,
        shards_per_job=1,
    params:
        stage="score_teacher",
        step=STEPS.score_teacher,
        files=files,
        name="score_teacher/{teacher}/{corpus}/{split}",
    shell:
        SCORE


# There may be thousands of shards, more than fit into an argument, so they have no name.
rule gather_cache:
    input:
        TARGETS.cache_records,
        TARGETS.cache_shards,
        documents="results/corpora/{corpus}/{split}/manifest.json",
        teacher=TARGETS.teacher_models,
    output:
        manifest="results/teachers/{teacher}/{corpus}/{split}/manifest.json",
        record="results/teachers/{teacher}/{corpus}/{split}/manifest.record.json",
    log:
        "logs/gather_cache/{teacher}/{corpus}/{split}.log",
    benchmark:
        "logs/gather_cache/{teacher}/{corpus}/{split}.benchmark.jsonl"
    conda:
        "../../envs/data.yaml"
    threads: 1
    params:
        stage="gather_cache",
        step=STEPS.gather_cache,
        files=files,
    shell:
        RUN


rule audit_cache:
    input:
        documents="results/corpora/{corpus}/{split}/manifest.json",
        teacher=TARGETS.teacher_models,
        cache="results/teachers/{teacher}/{corpus}/{split}/manifest.json",
    output:
        audit="results/teachers/{teacher}/{corpus}/{split}/audit.json",
        record="results/teachers/{teacher}/{corpus}/{split}/audit.record.json",
    log:
        "logs/audit_cache/{teacher}/{corpus}/{split}.log",
    benchmark:
        "logs/audit_cache/{teacher}/{corpus}/{split}.benchmark.jsonl"
    conda:
        "../../envs/evaluate.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        stage="audit_cache",
        step=STEPS.audit_cache,
        files=files,
    shell:
        RUN


use rule audit_cache as measure_information with:
    input:
        documents="results/corpora/{corpus}/{split}/manifest.json",
        teacher=TARGETS.teacher_models,
    output:
        information="results/teachers/{teacher}/{corpus}/{split}/information.json",
        record="results/teachers/{teacher}/{corpus}/{split}/information.record.json",
    log:
        "logs/measure_information/{teacher}/{corpus}/{split}.log",
    benchmark:
        "logs/measure_information/{teacher}/{corpus}/{split}.benchmark.jsonl"
    params:
        stage="measure_information",
        step=STEPS.measure_information,
        files=files,
