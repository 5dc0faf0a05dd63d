# Documents: one job per corpus reads its source and writes every split, since a document's split is decided as it is read.


def corpus_inputs(corpus):
    source = SETTINGS.corpora[corpus].source
    if source.kind == "files":
        return [path for pattern in source.paths for path in expand_pattern(pattern)]
    if source.kind == "dataset":
        return f"resources/datasets/{source.dataset}/manifest.json"
    return []


def expand_pattern(pattern):
    return files_under(pattern) if os.path.isdir(pattern) else sorted(glob.glob(pattern))


# The number of shards differs from corpus to corpus, so each corpus has a rule with its own list of outputs.
for name in SETTINGS.corpora:

    rule:
        name:
            f"corpus_{name}"
        input:
            corpus_inputs(name),
        output:
            [
                path
                for split in SETTINGS.corpora[name].splits
                for path in split_files(name, split)
            ],
        log:
            f"logs/build_corpus/{name}.log",
        benchmark:
            f"logs/build_corpus/{name}.benchmark.jsonl"
        params:
            step=step("build_corpus", SETTINGS.corpora[name].model_dump()),
        conda:
            "../../envs/data.yaml"
        threads: 1
        resources:
            mem_mb=4000,
        shell:
            "python -m bld.stages.build_corpus"
            " --step {params.step:q}"
            " --datasets resources/datasets"
            f" --corpus results/corpora/{name}"
            " 2>&1 | tee {log:q}"
