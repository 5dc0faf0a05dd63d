# Documents: one job per corpus reads its source and writes every split, since a document's split is decided as it is read.


# The number of shards differs from corpus to corpus, so each corpus has a rule with its own list of outputs.
for name in SETTINGS.corpora:

    rule:
        name:
            f"corpus_{name}"
        input:
            corpus_inputs(name),
        output:
            [path for split in SETTINGS.corpora[name].splits for path in split_files(name, split)],
        log:
            f"logs/build_corpus/{name}.log",
        benchmark:
            f"logs/build_corpus/{name}.benchmark.jsonl"
        conda:
            "../../envs/data.yaml"
        threads: 1
        resources:
            mem_mb=4000,
        params:
            step=step("build_corpus", SETTINGS.corpora[name].model_dump()),
        shell:
            "python -m bld.stages.build_corpus"
            " --step {params.step:q}"
            " --datasets resources/datasets"
            f" --corpus results/corpora/{name}"
            " 2>&1 | tee {log:q}"
