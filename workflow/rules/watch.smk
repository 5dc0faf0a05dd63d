# Running trainings as they go: `snakemake watch`.


# It names no files, so it takes no lock and runs beside the workflow. Its view is live, so the log holds errors alone.
rule watch:
    log:
        "logs/watch.log",
    retries: 0
    localrule: True
    conda:
        "../../envs/data.yaml"
    threads: 1
    shell:
        "python -m bld.stages.watch" " --checkpoints checkpoints" " --results results" " 2> {log:q}"
