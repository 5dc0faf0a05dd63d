# The teacher's byte distributions: one job per shard, then one that checks and counts. No {run} in the names: runs share them.


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
    params:
        step=lambda wildcards: step("score_teacher", teacher_settings(wildcards)),
    shell:
        "python -m bld.stages.score_teacher"
        " --step {params.step:q}"
        " --documents results/corpora/{wildcards.corpus}/{wildcards.split}/{wildcards.shard}.parquet"
        " --teacher {input.teacher:q}"
        " --shard {output.shard:q}"
        " --checkpoints checkpoints/score_teacher/{wildcards.teacher}/{wildcards.corpus}/{wildcards.split}/{wildcards.shard}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"


rule gather_cache:
    input:
        documents="results/corpora/{corpus}/{split}/manifest.json",
        teacher=TARGETS.teacher_models,
        records=TARGETS.cache_records,
        shards=TARGETS.cache_shards,
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
        step=lambda wildcards: step("gather_cache", teacher_settings(wildcards)),
    shell:
        "python -m bld.stages.gather_cache"
        " --step {params.step:q}"
        " --documents {input.documents:q}"
        " --teacher {input.teacher:q}"
        " --manifest {output.manifest:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"
