# The teacher's byte distributions: one job per shard, then one that checks and counts. No {run} in the names: runs share them.


def teacher_settings(teacher):
    settings = SETTINGS.teachers[teacher]
    return {"scoring": settings.model_dump(exclude={"model"}), "reading": reading(settings.model)}


rule score_teacher:
    input:
        documents="results/corpora/{corpus}/{split}/{shard}.parquet",
        teacher=lambda wildcards: model_folder(SETTINGS.teachers[wildcards.teacher].model),
    output:
        shard="results/teachers/{teacher}/{corpus}/{split}/{shard}.parquet",
    log:
        "logs/score_teacher/{teacher}/{corpus}/{split}/{shard}.log",
    benchmark:
        "logs/score_teacher/{teacher}/{corpus}/{split}/{shard}.benchmark.jsonl"
    params:
        step=lambda wildcards: step("score_teacher", teacher_settings(wildcards.teacher)),
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=16000,
        runtime=240,
        gpu=1,
    shell:
        "python -m bld.stages.score_teacher"
        " --step {params.step:q}"
        " --documents {input.documents:q}"
        " --teacher {input.teacher:q}"
        " --shard {output.shard:q}"
        " 2>&1 | tee {log:q}"


rule gather_cache:
    input:
        documents="results/corpora/{corpus}/{split}/manifest.json",
        shards=lambda wildcards: [
            path.replace("results/corpora/", f"results/teachers/{wildcards.teacher}/", 1)
            for path in split_shards(wildcards.corpus, wildcards.split)
        ],
    output:
        manifest="results/teachers/{teacher}/{corpus}/{split}/manifest.json",
    log:
        "logs/gather_cache/{teacher}/{corpus}/{split}.log",
    benchmark:
        "logs/gather_cache/{teacher}/{corpus}/{split}.benchmark.jsonl"
    params:
        step=lambda wildcards: step("gather_cache", teacher_settings(wildcards.teacher)),
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    shell:
        "python -m bld.stages.gather_cache"
        " --step {params.step:q}"
        " --documents {input.documents:q}"
        " --manifest {output.manifest:q}"
        " 2>&1 | tee {log:q}"
