# Training: the byte head is warmed up, then the student is distilled. A run without a byte head has
# no warm-up. Documents are rendered before, for all trainings that read them alike.


rule render_split:
    input:
        documents="results/corpora/{corpus}/{split}/manifest.json",
        model=TARGETS.rendered_for,
    output:
        manifest="results/rendered/{reader}/{name}/{corpus}/{split}/manifest.json",
        record="results/rendered/{reader}/{name}/{corpus}/{split}/manifest.record.json",
    log:
        "logs/render_split/{reader}/{name}/{corpus}/{split}.log",
    benchmark:
        "logs/render_split/{reader}/{name}/{corpus}/{split}.benchmark.jsonl"
    conda:
        "../../envs/data.yaml"
    threads: 8
    params:
        stage="render_split",
        step=STEPS.render_split,
        files=files,
    shell:
        RUN


rule warm_up:
    input:
        documents=TARGETS.run_documents,
        student=TARGETS.run_student,
        rendered=TARGETS.run_rendered,
        development=TARGETS.run_development,
        development_rendered=TARGETS.run_development_rendered,
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
        stage="warm_up",
        step=STEPS.warm_up,
        files=files,
        name="warm_up/{run}",
    shell:
        TRAIN


use rule warm_up as distill with:
    input:
        documents=TARGETS.run_documents,
        student=TARGETS.run_student,
        rendered=TARGETS.run_rendered,
        cache=TARGETS.run_cache,
        teacher=TARGETS.run_teacher,
        warmup=TARGETS.run_warmup,
        map=TARGETS.run_map,
        development=TARGETS.run_development,
        development_rendered=TARGETS.run_development_rendered,
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
    params:
        stage="distill",
        step=STEPS.distill,
        files=files,
        name="distill/{run}",
