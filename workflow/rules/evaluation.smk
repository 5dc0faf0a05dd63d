# Every model is evaluated: the teachers, the students before training, and each run. {evaluated} is
# the folder of the evaluations of one of them.


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
        stage="evaluate_bits_per_byte",
        step=STEPS.evaluate_bits_per_byte,
        files=files,
    shell:
        RUN


use rule evaluate_bits_per_byte as write_text with:
    output:
        evaluation="results/{evaluated}/text.json",
        record="results/{evaluated}/text.record.json",
    log:
        "logs/write_text/{evaluated}.log",
    benchmark:
        "logs/write_text/{evaluated}.benchmark.jsonl"
    params:
        stage="write_text",
        step=STEPS.write_text,
        files=files,


use rule evaluate_bits_per_byte as evaluate_byte_divergence with:
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
    params:
        stage="evaluate_byte_divergence",
        step=STEPS.evaluate_byte_divergence,
        files=files,


# Several models averaged have no tokens in common: their bytes are evaluated.
ruleorder: evaluate_average > evaluate_bits_per_byte


use rule evaluate_bits_per_byte as evaluate_average with:
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
    params:
        stage="evaluate_average",
        step=STEPS.evaluate_average,
        files=files,
