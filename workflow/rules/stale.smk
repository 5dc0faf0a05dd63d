# What would be made again, and why, as a table: `snakemake stale`.


# It makes nothing, so it runs whenever it is asked for.
rule stale:
    log:
        "logs/stale.log",
    retries: 0
    localrule: True
    conda:
        "../../envs/data.yaml"
    threads: 1
    params:
        step=lambda wildcards: step("stale", stale_settings()),
    shell:
        "python -m bld.stages.stale" " --step {params.step:q}" " 2>&1 | tee {log:q}"
