# Every model is judged: the teachers, the students before training, and each run. {evaluated} is the folder of what is found
# of one of them.


rule evaluate_bits_per_byte:
    input:
        documents=TARGETS.evaluated_on,
        model=TARGETS.evaluated_model,
    output:
        evaluation="results/{evaluated}/bits_per_byte.json",
        record="results/{evaluated}/bits_per_byte.record.json",
    log:
        "logs/evaluate_bits_per_byte/{evaluated}.log",
    benchmark:
        "logs/evaluate_bits_per_byte/{evaluated}.benchmark.jsonl"
    conda:
        "../../envs/evaluate.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        step=lambda wildcards: step("evaluate_bits_per_byte", evaluation_settings(wildcards)),
    shell:
        "python -m bld.stages.evaluate_bits_per_byte"
        " --step {params.step:q}"
        " --documents {input.documents:q}"
        " --model {input.model:q}"
        " --evaluation {output.evaluation:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"


# Several models averaged have no tokens in common: their bytes are judged, in the same words.
ruleorder: evaluate_average > evaluate_bits_per_byte


rule evaluate_average:
    input:
        documents="results/corpora/{corpus}/{split}/manifest.json",
        models=TARGETS.teacher_models,
    output:
        evaluation="results/evaluation/teachers/{teacher}/{corpus}/{split}/bits_per_byte.json",
        record="results/evaluation/teachers/{teacher}/{corpus}/{split}/bits_per_byte.record.json",
    log:
        "logs/evaluate_average/{teacher}/{corpus}/{split}.log",
    benchmark:
        "logs/evaluate_average/{teacher}/{corpus}/{split}.benchmark.jsonl"
    wildcard_constraints:
        teacher=one_of(TARGETS.averages),
    conda:
        "../../envs/evaluate.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        step=lambda wildcards: step("evaluate_average", average_settings(wildcards)),
    shell:
        "python -m bld.stages.evaluate_average"
        " --step {params.step:q}"
        " --documents {input.documents:q}"
        " --models {input.models:q}"
        " --evaluation {output.evaluation:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"


rule evaluate_byte_divergence:
    input:
        documents=TARGETS.evaluated_on,
        model=TARGETS.evaluated_model,
        head=TARGETS.evaluated_head,
        teacher=TARGETS.evaluated_against,
    output:
        evaluation="results/{evaluated}/byte_divergence.json",
        record="results/{evaluated}/byte_divergence.record.json",
    log:
        "logs/evaluate_byte_divergence/{evaluated}.log",
    benchmark:
        "logs/evaluate_byte_divergence/{evaluated}.benchmark.jsonl"
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
        " --head {input.head:q}"
        " --teacher {input.teacher:q}"
        " --evaluation {output.evaluation:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"


rule write_text:
    input:
        documents=TARGETS.evaluated_on,
        model=TARGETS.evaluated_model,
    output:
        evaluation="results/{evaluated}/text.json",
        record="results/{evaluated}/text.record.json",
    log:
        "logs/write_text/{evaluated}.log",
    benchmark:
        "logs/write_text/{evaluated}.benchmark.jsonl"
    conda:
        "../../envs/evaluate.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        step=lambda wildcards: step("write_text", text_settings(wildcards)),
    shell:
        "python -m bld.stages.write_text"
        " --step {params.step:q}"
        " --documents {input.documents:q}"
        " --model {input.model:q}"
        " --evaluation {output.evaluation:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"
