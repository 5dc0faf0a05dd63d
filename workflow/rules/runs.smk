# Training: the byte head is warmed up, then the student is distilled. A run without a byte head has no warm-up.


def warm_up_settings(wildcards):
    """The warm-up has its own length and rate, and no teacher."""
    run = SETTINGS.runs[wildcards.run]
    return {
        "training": run.training.model_dump(exclude={"steps", "learning_rate"}),
        "warmup": run.warmup.model_dump(),
        "bld": run.bld.model_dump(include={"byte_weight", "reduction"}),
        "seed": run.seed,
        "reading": student_reading(run.student),
    }


def distill_settings(wildcards):
    run = SETTINGS.runs[wildcards.run]
    return {
        "method": run.method,
        "training": run.training.model_dump(),
        "seed": run.seed,
        "reading": student_reading(run.student),
    } | ({"bld": run.bld.model_dump()} if run.method == "bld" else {})


def run_documents(wildcards):
    run = SETTINGS.runs[wildcards.run]
    return split_files(run.corpus, run.train_split)


def run_student(wildcards):
    return student_folder(SETTINGS.runs[wildcards.run].student)


def run_cache(wildcards):
    """The teacher's byte distributions, for runs that learn from them."""
    run = SETTINGS.runs[wildcards.run]
    if run.method == "sft":
        return []
    return [f"results/teachers/{run.teacher}/{run.corpus}/{run.train_split}/manifest.json"]


def run_warmup(wildcards):
    """The warmed-up byte head, for runs that have one."""
    run = SETTINGS.runs[wildcards.run]
    has_head = run.method == "bld" and run.bld.head == "linear"
    return [f"results/runs/{wildcards.run}/warmup/manifest.json"] if has_head else []


rule warm_up:
    input:
        documents=run_documents,
        student=run_student,
    output:
        manifest="results/runs/{run}/warmup/manifest.json",
    log:
        "logs/warm_up/{run}.log",
    benchmark:
        "logs/warm_up/{run}.benchmark.jsonl"
    params:
        step=lambda wildcards: step("warm_up", warm_up_settings(wildcards)),
    conda:
        "../../envs/train.yaml"
    threads: 8
    resources:
        mem_mb=16000,
        runtime=240,
        gpu=1,
    shell:
        "python -m bld.stages.warm_up"
        " --step {params.step:q}"
        " --documents {input.documents[0]:q}"
        " --student {input.student:q}"
        " --manifest {output.manifest:q}"
        " 2>&1 | tee {log:q}"


rule distill:
    input:
        documents=run_documents,
        student=run_student,
        cache=run_cache,
        warmup=run_warmup,
    output:
        manifest="results/runs/{run}/model/manifest.json",
        metrics="results/runs/{run}/metrics.parquet",
        training="results/runs/{run}/training.json",
    log:
        "logs/distill/{run}.log",
    benchmark:
        "logs/distill/{run}.benchmark.jsonl"
    params:
        step=lambda wildcards: step("distill", distill_settings(wildcards)),
    conda:
        "../../envs/train.yaml"
    threads: 8
    resources:
        mem_mb=16000,
        runtime=240,
        gpu=1,
    shell:
        "python -m bld.stages.distill"
        " --step {params.step:q}"
        " --documents {input.documents[0]:q}"
        " --student {input.student:q}"
        " --cache {input.cache:q}"
        " --warmup {input.warmup:q}"
        " --manifest {output.manifest:q}"
        " --metrics {output.metrics:q}"
        " --training {output.training:q}"
        " 2>&1 | tee {log:q}"
