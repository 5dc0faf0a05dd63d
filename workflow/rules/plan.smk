# What the configuration will cost, printed before anything is spent: `snakemake --profile slurm
# plan`.

from bld.pipeline.plan.jobs import plan_step


# It makes nothing (a benchmark would count as made), so it runs whenever it is asked for; if it
# refuses, it does so once.
rule plan:
    log:
        "logs/plan.log",
    retries: 0
    localrule: True
    conda:
        "../../envs/train.yaml"
    threads: 1
    params:
        stage="plan",
        step=lambda wildcards: plan_step(workflow, SETTINGS),
        files=files,
    shell:
        RUN
