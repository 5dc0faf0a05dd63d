# What is seen to before the first job is sent to a SLURM cluster.

from bld.pipeline.cluster import answer, jobs_lost_from_arrays, keeps_accounts, stop_forgotten


def prepare_cluster():
    """Use what the site has, and refuse what would wait for ever; what runs right here touches no job of the cluster."""
    if all(job.is_local for job in workflow.dag.needrun_jobs()):
        return
    settings = workflow.executor_settings
    if not hasattr(settings, "status_command"):
        return
    lost = jobs_lost_from_arrays(
        settings.array_jobs or "",
        workflow.nodes,
        [job.rule.name for job in workflow.dag.needrun_jobs()],
    )
    if lost:
        raise WorkflowError(lost)
    if not keeps_accounts(answer("scontrol", "show", "config")):
        settings.status_command = "squeue"
        settings.efficiency_report = False
        print(
            "This cluster keeps no accounts: squeue tells how jobs are, and there is no efficiency report."
        )
    stop_forgotten(os.getcwd())
