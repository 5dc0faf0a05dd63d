# How a student's tokens stand to a teacher's: maps of one vocabulary to the other, and how far both cut text alike.


wildcard_constraints:
    kind=one_of(MAPS),


rule map_vocabulary:
    input:
        student="results/students/{student}/manifest.json",
        teacher=TARGETS.teacher_models,
    output:
        map="results/vocabulary_maps/{kind}/{student}/{teacher}.parquet",
        record="results/vocabulary_maps/{kind}/{student}/{teacher}.record.json",
    log:
        "logs/map_vocabulary/{kind}/{student}/{teacher}.log",
    benchmark:
        "logs/map_vocabulary/{kind}/{student}/{teacher}.benchmark.jsonl"
    conda:
        "../../envs/data.yaml"
    threads: 8
    params:
        step=lambda wildcards: step("map_vocabulary", map_settings(wildcards)),
    shell:
        "python -m bld.stages.map_vocabulary"
        " --step {params.step:q}"
        " --student {input.student:q}"
        " --teacher {input.teacher:q}"
        " --map {output.map:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"


rule measure_alignment:
    input:
        documents="results/corpora/{corpus}/{split}/manifest.json",
        student="results/students/{student}/manifest.json",
        teacher=TARGETS.teacher_models,
    output:
        alignment="results/alignments/{student}/{teacher}/{corpus}/{split}/alignment.json",
        record="results/alignments/{student}/{teacher}/{corpus}/{split}/alignment.record.json",
    log:
        "logs/measure_alignment/{student}/{teacher}/{corpus}/{split}.log",
    benchmark:
        "logs/measure_alignment/{student}/{teacher}/{corpus}/{split}.benchmark.jsonl"
    conda:
        "../../envs/data.yaml"
    threads: 1
    params:
        step=lambda wildcards: step("measure_alignment", alignment_settings(wildcards)),
    shell:
        "python -m bld.stages.measure_alignment"
        " --step {params.step:q}"
        " --documents {input.documents:q}"
        " --student {input.student:q}"
        " --teacher {input.teacher:q}"
        " --alignment {output.alignment:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"
