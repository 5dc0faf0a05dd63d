# Documents. Each split is a job of its own, so that what is asked of one split makes no other stale. Where a document falls is
# decided by the shares of the splits up to its own.


rule build_split:
    input:
        TARGETS.corpus_source,
    output:
        # The shards are named in it, with their digests, and not here: there may be thousands.
        manifest="results/corpora/{corpus}/{split}/manifest.json",
        record="results/corpora/{corpus}/{split}/manifest.record.json",
    log:
        "logs/build_split/{corpus}/{split}.log",
    benchmark:
        "logs/build_split/{corpus}/{split}.benchmark.jsonl"
    conda:
        "../../envs/data.yaml"
    threads: 1
    params:
        step=lambda wildcards: step("build_split", split_settings(wildcards)),
    shell:
        "python -m bld.stages.build_split"
        " --step {params.step:q}"
        " --datasets resources/datasets"
        " --manifest {output.manifest:q}"
        " --record {output.record:q}"
        " --log {log:q}"
        " 2>&1 | tee {log:q}"
