# What the teacher's byte distributions are worth: how faithful a cache is, and what bytes tell of tokens.


rule audit_cache:
    input:
        documents="results/corpora/{corpus}/{split}/manifest.json",
        teacher=TARGETS.teacher_models,
        cache="results/teachers/{teacher}/{corpus}/{split}/manifest.json",
    output:
        audit="results/teachers/{teacher}/{corpus}/{split}/audit.json",
        record="results/teachers/{teacher}/{corpus}/{split}/audit.record.json",
    log:
        "logs/audit_cache/{teacher}/{corpus}/{split}.log",
    benchmark:
        "logs/audit_cache/{teacher}/{corpus}/{split}.benchmark.jsonl"
    conda:
        "../../envs/evaluate.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        step=lambda wildcards: step("audit_cache", audit_settings(wildcards)),
    shell:
        "python -m bld.stages.audit_cache"
        " --step {params.step:q}"
        " --documents {input.documents:q}"
        " --teacher {input.teacher:q}"
        " --cache {input.cache:q}"
        " --audit {output.audit:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"


rule measure_information:
    input:
        documents="results/corpora/{corpus}/{split}/manifest.json",
        teacher=TARGETS.teacher_models,
    output:
        information="results/teachers/{teacher}/{corpus}/{split}/information.json",
        record="results/teachers/{teacher}/{corpus}/{split}/information.record.json",
    log:
        "logs/measure_information/{teacher}/{corpus}/{split}.log",
    benchmark:
        "logs/measure_information/{teacher}/{corpus}/{split}.benchmark.jsonl"
    conda:
        "../../envs/evaluate.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        step=lambda wildcards: step("measure_information", information_settings(wildcards)),
    shell:
        "python -m bld.stages.measure_information"
        " --step {params.step:q}"
        " --documents {input.documents:q}"
        " --teacher {input.teacher:q}"
        " --information {output.information:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"
