# How a student's tokens relate to a teacher's: maps of one vocabulary to the other, and how far
# both cut text alike.


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
        stage="map_vocabulary",
        step=STEPS.map_vocabulary,
        files=files,
    shell:
        RUN


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
        stage="measure_alignment",
        step=STEPS.measure_alignment,
        files=files,
    shell:
        RUN
