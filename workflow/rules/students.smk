# Students before training.


def other_tokenizer(wildcards):
    """The model whose tokenizer the student is given, if it is given one."""
    tokenizer = SETTINGS.students[wildcards.student].tokenizer
    return [model_folder(tokenizer)] if tokenizer in SETTINGS.models else []


rule prepare_student:
    input:
        model=lambda wildcards: model_folder(SETTINGS.students[wildcards.student].model),
        tokenizer=other_tokenizer,
    output:
        manifest="results/students/{student}/manifest.json",
    log:
        "logs/prepare_student/{student}.log",
    benchmark:
        "logs/prepare_student/{student}.benchmark.jsonl"
    params:
        step=lambda wildcards: step(
            "prepare_student",
            {
                "tokenizer": SETTINGS.students[wildcards.student].tokenizer,
                "model_reading": reading(SETTINGS.students[wildcards.student].model),
                "reading": student_reading(wildcards.student),
            },
        ),
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=16000,
    shell:
        "python -m bld.stages.prepare_student"
        " --step {params.step:q}"
        " --model {input.model:q}"
        " --tokenizer {input.tokenizer:q}"
        " --manifest {output.manifest:q}"
        " 2>&1 | tee {log:q}"
