# Every model is judged on a validation split: the teacher, the student before training, and each run.


rule evaluate_run:
    input:
        documents=run_validation,
        model="results/runs/{run}/model/manifest.json",
    output:
        evaluation="results/runs/{run}/evaluation/bits_per_byte.json",
    log:
        "logs/evaluate_run/{run}.log",
    benchmark:
        "logs/evaluate_run/{run}.benchmark.jsonl"
    conda:
        "../../envs/evaluate.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        step=lambda wildcards: step("evaluate_bits_per_byte", evaluate_run_settings(wildcards)),
    shell:
        "python -m bld.stages.evaluate_bits_per_byte"
        " --step {params.step:q}"
        " --documents {input.documents:q}"
        " --model {input.model:q}"
        " --evaluation {output.evaluation:q}"
        " 2>&1 | tee {log:q}"


use rule evaluate_run as evaluate_student with:
    input:
        documents="results/corpora/{corpus}/{split}/manifest.json",
        model="results/students/{student}/manifest.json",
    output:
        evaluation="results/evaluation/students/{student}/{corpus}/{split}/bits_per_byte.json",
    log:
        "logs/evaluate_student/{student}/{corpus}/{split}.log",
    benchmark:
        "logs/evaluate_student/{student}/{corpus}/{split}.benchmark.jsonl"
    params:
        step=lambda wildcards: step("evaluate_bits_per_byte", evaluate_student_settings(wildcards)),


use rule evaluate_run as evaluate_teacher with:
    input:
        documents="results/corpora/{corpus}/{split}/manifest.json",
        model=teacher_model,
    output:
        evaluation="results/evaluation/teachers/{teacher}/{corpus}/{split}/bits_per_byte.json",
    log:
        "logs/evaluate_teacher/{teacher}/{corpus}/{split}.log",
    benchmark:
        "logs/evaluate_teacher/{teacher}/{corpus}/{split}.benchmark.jsonl"
    params:
        step=lambda wildcards: step("evaluate_bits_per_byte", evaluate_teacher_settings(wildcards)),


rule evaluate_divergence:
    input:
        documents=run_validation,
        model="results/runs/{run}/model/manifest.json",
        teacher=run_teacher,
    output:
        evaluation="results/runs/{run}/evaluation/byte_divergence.json",
    log:
        "logs/evaluate_divergence/{run}.log",
    benchmark:
        "logs/evaluate_divergence/{run}.benchmark.jsonl"
    conda:
        "../../envs/evaluate.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        step=lambda wildcards: step("evaluate_byte_divergence", divergence_settings(wildcards)),
    shell:
        "python -m bld.stages.evaluate_byte_divergence"
        " --step {params.step:q}"
        " --documents {input.documents:q}"
        " --model {input.model:q}"
        " --teacher {input.teacher:q}"
        " --evaluation {output.evaluation:q}"
        " 2>&1 | tee {log:q}"
