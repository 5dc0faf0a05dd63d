# Training: the byte head is warmed up, then the student is distilled. A run without a byte head has no warm-up.


rule warm_up:
    input:
        documents=TARGETS.run_documents,
        student=TARGETS.run_student,
        development=TARGETS.run_development,
    output:
        manifest="results/runs/{run}/warmup/manifest.json",
        record="results/runs/{run}/warmup/manifest.record.json",
    log:
        "logs/warm_up/{run}.log",
    benchmark:
        "logs/warm_up/{run}.benchmark.jsonl"
    conda:
        "../../envs/train.yaml"
    threads: 8
    resources:
        runtime=240,
        checkpoint_minutes=10,
        tracker=lambda wildcards: SETTINGS.runs[wildcards.run].training.tracker,
        nodes=1,
        gpu=1,
    params:
        step=lambda wildcards: step("warm_up", warm_up_settings(wildcards)),
    shell:
        "python -m bld.pipeline.launch --nodes {resources.nodes} --processes {resources.gpu} -m bld.stages.warm_up"
        " --step {params.step:q}"
        " --documents {input.documents:q}"
        " --student {input.student:q}"
        " --development {input.development:q}"
        " --manifest {output.manifest:q}"
        " --checkpoints checkpoints/warm_up/{wildcards.run}"
        " --tracker {resources.tracker}"
        " --events logs/tensorboard/warm_up/{wildcards.run}"
        " --runtime {resources.runtime}"
        " --checkpoint-minutes {resources.checkpoint_minutes}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"


rule distill:
    input:
        documents=TARGETS.run_documents,
        student=TARGETS.run_student,
        cache=TARGETS.run_cache,
        teacher=TARGETS.run_teacher,
        warmup=TARGETS.run_warmup,
        map=TARGETS.run_map,
        development=TARGETS.run_development,
        development_cache=TARGETS.run_development_cache,
    output:
        manifest="results/runs/{run}/model/manifest.json",
        metrics="results/runs/{run}/metrics.parquet",
        training="results/runs/{run}/training.json",
        head="results/runs/{run}/head/manifest.json",
        record="results/runs/{run}/model/manifest.record.json",
    log:
        "logs/distill/{run}.log",
    benchmark:
        "logs/distill/{run}.benchmark.jsonl"
    conda:
        "../../envs/train.yaml"
    threads: 8
    resources:
        runtime=240,
        checkpoint_minutes=10,
        tracker=lambda wildcards: SETTINGS.runs[wildcards.run].training.tracker,
        nodes=1,
        gpu=1,
    params:
        step=lambda wildcards: step("distill", distill_settings(wildcards)),
    shell:
        "python -m bld.pipeline.launch --nodes {resources.nodes} --processes {resources.gpu} -m bld.stages.distill"
        " --step {params.step:q}"
        " --documents {input.documents:q}"
        " --student {input.student:q}"
        " --cache {input.cache:q}"
        " --teacher {input.teacher:q}"
        " --warmup {input.warmup:q}"
        " --map {input.map:q}"
        " --development {input.development:q}"
        " --development-cache {input.development_cache:q}"
        " --manifest {output.manifest:q}"
        " --metrics {output.metrics:q}"
        " --training {output.training:q}"
        " --head {output.head:q}"
        " --checkpoints checkpoints/distill/{wildcards.run}"
        " --tracker {resources.tracker}"
        " --events logs/tensorboard/distill/{wildcards.run}"
        " --runtime {resources.runtime}"
        " --checkpoint-minutes {resources.checkpoint_minutes}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"
