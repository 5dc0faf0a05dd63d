# Every model is judged on a validation split: the teacher, the student before training, and each run.


def evaluation_settings(model_reading):
    settings = SETTINGS.evaluation.model_dump(include={"window", "batch_tokens"})
    return settings | {"reading": model_reading}


rule evaluate_run:
    input:
        documents=lambda wildcards: split_files(
            SETTINGS.runs[wildcards.run].corpus, SETTINGS.runs[wildcards.run].validation_split
        ),
        model="results/runs/{run}/model/manifest.json",
    output:
        evaluation="results/runs/{run}/evaluation/bits_per_byte.json",
    log:
        "logs/evaluate_run/{run}.log",
    benchmark:
        "logs/evaluate_run/{run}.benchmark.jsonl"
    params:
        step=lambda wildcards: step(
            "evaluate_bits_per_byte",
            evaluation_settings(student_reading(SETTINGS.runs[wildcards.run].student)),
        ),
    conda:
        "../../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=16000,
        runtime=60,
        gpu=1,
    shell:
        "python -m bld.stages.evaluate_bits_per_byte"
        " --step {params.step:q}"
        " --documents {input.documents[0]:q}"
        " --model {input.model:q}"
        " --evaluation {output.evaluation:q}"
        " 2>&1 | tee {log:q}"


use rule evaluate_run as evaluate_student with:
    input:
        documents=lambda wildcards: split_files(wildcards.corpus, wildcards.split),
        model="results/students/{student}/manifest.json",
    output:
        evaluation="results/evaluation/students/{student}/{corpus}/{split}/bits_per_byte.json",
    log:
        "logs/evaluate_student/{student}/{corpus}/{split}.log",
    benchmark:
        "logs/evaluate_student/{student}/{corpus}/{split}.benchmark.jsonl"
    params:
        step=lambda wildcards: step(
            "evaluate_bits_per_byte", evaluation_settings(student_reading(wildcards.student))
        ),


use rule evaluate_run as evaluate_teacher with:
    input:
        documents=lambda wildcards: split_files(wildcards.corpus, wildcards.split),
        model=lambda wildcards: model_folder(SETTINGS.teachers[wildcards.teacher].model),
    output:
        evaluation="results/evaluation/teachers/{teacher}/{corpus}/{split}/bits_per_byte.json",
    log:
        "logs/evaluate_teacher/{teacher}/{corpus}/{split}.log",
    benchmark:
        "logs/evaluate_teacher/{teacher}/{corpus}/{split}.benchmark.jsonl"
    params:
        step=lambda wildcards: step(
            "evaluate_bits_per_byte",
            evaluation_settings(reading(SETTINGS.teachers[wildcards.teacher].model)),
        ),


rule evaluate_divergence:
    input:
        documents=lambda wildcards: split_files(
            SETTINGS.runs[wildcards.run].corpus, SETTINGS.runs[wildcards.run].validation_split
        ),
        model="results/runs/{run}/model/manifest.json",
        teacher=lambda wildcards: model_folder(
            SETTINGS.teachers[SETTINGS.runs[wildcards.run].teacher].model
        ),
    output:
        evaluation="results/runs/{run}/evaluation/byte_divergence.json",
    log:
        "logs/evaluate_divergence/{run}.log",
    benchmark:
        "logs/evaluate_divergence/{run}.benchmark.jsonl"
    params:
        step=lambda wildcards: step(
            "evaluate_byte_divergence",
            evaluation_settings(student_reading(SETTINGS.runs[wildcards.run].student))
            | {
                "documents": SETTINGS.evaluation.divergence_documents,
                "teacher_reading": reading(
                    SETTINGS.teachers[SETTINGS.runs[wildcards.run].teacher].model
                ),
            },
        ),
    conda:
        "../../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=16000,
        runtime=60,
        gpu=1,
    shell:
        "python -m bld.stages.evaluate_byte_divergence"
        " --step {params.step:q}"
        " --documents {input.documents[0]:q}"
        " --model {input.model:q}"
        " --teacher {input.teacher:q}"
        " --evaluation {output.evaluation:q}"
        " 2>&1 | tee {log:q}"
