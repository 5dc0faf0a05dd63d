# Benchmarks of lm-evaluation-harness: their data is fetched once or made from a corpus, then every model is judged by them.


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
        step=lambda wildcards: step(
            "fetch_benchmark",
            SETTINGS.benchmarks[wildcards.benchmark].model_dump(include={"data", "nltk"}),
        ),
    shell:
        "HF_HUB_OFFLINE=0 HF_HUB_DISABLE_PROGRESS_BARS=0 python -m bld.stages.fetch_benchmark"
        " --step {params.step:q}"
        " --manifest {output.manifest:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"


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
        step=lambda wildcards: step("build_benchmark", local_benchmark_settings(wildcards)),
    shell:
        "python -m bld.stages.build_benchmark"
        " --step {params.step:q}"
        " --documents {input.documents:q}"
        " --manifest {output.manifest:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"


rule evaluate_benchmark:
    input:
        data=TARGETS.benchmark_data,
        model=TARGETS.evaluated_model,
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
        step=lambda wildcards: step("evaluate_benchmark", benchmark_settings(wildcards)),
    shell:
        "python -m bld.stages.evaluate_benchmark"
        " --step {params.step:q}"
        " --data {input.data:q}"
        " --model {input.model:q}"
        " --evaluation {output.evaluation:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"
