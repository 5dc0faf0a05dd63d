# Students before training.


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
        step=lambda wildcards: step("prepare_student", student_settings(wildcards)),
    shell:
        "python -m bld.stages.prepare_student"
        " --step {params.step:q}"
        " --model {input.model:q}"
        " --tokenizer {input.tokenizer:q}"
        " --manifest {output.manifest:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"
