# Documents. Each split is a job of its own, so that what is asked of one split makes no other stale. Where a document falls is
# decided by the shares of the splits up to its own.


# The number of shards differs from split to split, so each has a rule with its own list of outputs.
for corpus, settings in SETTINGS.corpora.items():
    for split in settings.splits:

        rule:
            name:
                f"corpus_{corpus}_{split}"
            input:
                corpus_inputs(corpus),
            output:
                manifest=split_manifest(corpus, split),
                shards=split_shards(corpus, split),
            log:
                f"logs/build_split/{corpus}/{split}.log",
            benchmark:
                f"logs/build_split/{corpus}/{split}.benchmark.jsonl"
            conda:
                "../../envs/data.yaml"
            threads: 1
            resources:
                mem_mb=4000,
            params:
                step=step("build_split", split_settings(corpus, split)),
            shell:
                "python -m bld.stages.build_split"
                " --step {params.step:q}"
                " --datasets resources/datasets"
                " --manifest {output.manifest:q}"
                " 2>&1 | tee {log:q}"
