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
        stage="stale",
        step=stale_step(workflow, config),
        files=files,
    shell:
        RUN
