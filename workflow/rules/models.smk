# Models from scratch, for demonstrations: once made, nothing tells them from fetched ones; and
# students before training.


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
        stage="train_tokenizer",
        step=STEPS.train_tokenizer,
        files=files,
    shell:
        RUN


rule pretrain:
    input:
        documents=TARGETS.scratch_documents,
        tokenizer="resources/tokenizers/{model}/manifest.json",
        rendered=TARGETS.scratch_rendered,
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
        stage="pretrain",
        step=STEPS.pretrain,
        files=files,
        name="pretrain/{model}",
    shell:
        TRAIN


rule prepare_student:
    input:
        model=TARGETS.student_model,
        tokenizer=TARGETS.student_tokenizer,
    output:
        manifest="results/students/{student}/manifest.json",
        record="results/students/{student}/manifest.record.json",
    log:
        "logs/prepare_student/{student}.log",
    benchmark:
        "logs/prepare_student/{student}.benchmark.jsonl"
    conda:
        "../../envs/train.yaml"
    threads: 1
    params:
        stage="prepare_student",
        step=STEPS.prepare_student,
        files=files,
    shell:
        RUN
