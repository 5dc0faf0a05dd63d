# Benchmarks of lm-evaluation-harness: their data is fetched once or made from a corpus, then every
# model is evaluated by them.


rule fetch_benchmark:
    output:
        manifest="resources/benchmarks/{benchmark}/manifest.json",
        record="resources/benchmarks/{benchmark}/manifest.record.json",
    log:
        "logs/fetch_benchmark/{benchmark}.log",
    benchmark:
        "logs/fetch_benchmark/{benchmark}.benchmark.jsonl"
    wildcard_constraints:
        benchmark=one_of(TARGETS.hub_benchmarks),
    localrule: True
    conda:
        "../../envs/benchmark.yaml"
    threads: 1
    params:
        stage="fetch_benchmark",
        step=STEPS.fetch_benchmark,
        files=files,
    shell:
        f"{ONLINE} {RUN}"


rule build_benchmark:
    input:
        documents=TARGETS.benchmark_documents,
    output:
        manifest="results/benchmarks/{benchmark}/manifest.json",
        record="results/benchmarks/{benchmark}/manifest.record.json",
    log:
        "logs/build_benchmark/{benchmark}.log",
    benchmark:
        "logs/build_benchmark/{benchmark}.benchmark.jsonl"
    wildcard_constraints:
        benchmark=one_of(TARGETS.local_benchmarks),
    conda:
        "../../envs/data.yaml"
    threads: 1
    params:
        stage="build_benchmark",
        step=STEPS.build_benchmark,
        files=files,
    shell:
        RUN


rule evaluate_benchmark:
    input:
        data=TARGETS.benchmark_data,
        model=TARGETS.evaluated_model,
        source=TARGETS.evaluated_source,
    output:
        evaluation="results/{evaluated}/{benchmark}.json",
        record="results/{evaluated}/{benchmark}.record.json",
    log:
        "logs/evaluate_benchmark/{evaluated}/{benchmark}.log",
    benchmark:
        "logs/evaluate_benchmark/{evaluated}/{benchmark}.benchmark.jsonl"
    wildcard_constraints:
        benchmark=one_of(SETTINGS.benchmarks),
    conda:
        "../../envs/benchmark.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        stage="evaluate_benchmark",
        step=STEPS.evaluate_benchmark,
        files=files,
    shell:
        RUN
