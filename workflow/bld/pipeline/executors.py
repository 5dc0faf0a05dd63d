"""Snakemake's executors, with a memory for why jobs ended.

`retries` counts attempts that failed. A job that saved, stopped for its time limit and goes on in
the next attempt has not failed: it costs none of them, and there may be as many such attempts as
its work takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snakemake.executors import local
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry
from snakemake_interface_executor_plugins.settings import ExecMode

from bld.pipeline.attempts import Cause
from bld.pipeline.growth import asked_by, attempts_of, grow_by_causes
from bld.pipeline.pins import refuse_names

if TYPE_CHECKING:
    from snakemake.workflow import Workflow


class HeedingCauses:
    """What our executors have before Snakemake's."""

    def __post_init__(self, *given: Any) -> None:
        """As Snakemake's; what cannot be fetched is said before anything else runs."""
        refuse_names(self.workflow.dag.needrun_jobs())  # type: ignore[attr-defined]
        super().__post_init__(*given)  # type: ignore[misc]

    def report_job_error(self, job_info: Any, msg: str | None = None, **about: Any) -> None:
        """As Snakemake's, but a job that goes on in its next attempt is no error."""
        job = job_info.job
        parts = list(job.jobs) if job.is_group() else [job]
        stopped = [x for x in parts if self._end(x, job_info) == Cause.TO_BE_CONTINUED]
        if not stopped:
            super().report_job_error(job_info, msg, **about)  # type: ignore[misc]
            return
        names = ", ".join(" ".join([part.rule.name, *part.wildcards]) for part in stopped)
        print(f"{names} has saved and goes on in another job.", flush=True)
        # Snakemake adds one to it before it asks whether there were too many. Its property would
        # forget what the job holds of the resources, which is still to be given back.
        job._attempt -= 1
        self.workflow.scheduler.error_callback(job)  # type: ignore[attr-defined]

    def _end(self, job: Any, job_info: Any) -> Cause | None:
        attempts = attempts_of(job)
        if attempts is None or not self.was_sent(job_info):
            return None
        return attempts.end(self.state_of(job_info), asked_by(job))

    def was_sent(self, job_info: Any) -> bool:
        """Whether there was an attempt at all."""
        return True

    def state_of(self, job_info: Any) -> str | None:
        """SLURM's word for how a job ended, None where there is no SLURM."""
        return None


class LocalExecutor(HeedingCauses, local.Executor):  # type: ignore[misc]
    """Jobs on this machine."""


def use_executors(workflow: Workflow) -> None:
    """Let Snakemake send jobs by the executors of this project; after the last rule."""
    grow_by_causes(workflow)
    # Of the processes that Snakemake starts for a job, none sends it again.
    if workflow.exec_mode != ExecMode.DEFAULT:
        return
    registry = ExecutorPluginRegistry()
    registry.get_plugin("local").executor = LocalExecutor
    if registry.is_installed("slurm"):
        from bld.pipeline.slurm import SlurmExecutor

        registry.get_plugin("slurm").executor = SlurmExecutor
