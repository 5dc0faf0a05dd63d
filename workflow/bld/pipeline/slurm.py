"""Snakemake's executor for SLURM (its plugin, 2.8.0), made patient.

The plugin takes every refusal of sbatch for a failure of the job, and loses sight of jobs when
squeue or sacct do not answer. Here both are asked until they do, in SLURM's own words and at no
cost in attempts; and jobs of a rule are an array as soon as there are several.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Event, Lock
from types import SimpleNamespace
from typing import Any, TypeVar

import snakemake_executor_plugin_slurm as plugin
from snakemake.exceptions import WorkflowError

from bld.pipeline.cluster import RefusedError, answer, keeps_accounts, patiently, stop_forgotten
from bld.pipeline.executors import HeedingCauses
from bld.pipeline.growth import asked_by

# A job whose step was killed lives on to say that the step failed: SLURM's log alone tells why.
KILLED_FOR_MEMORY = re.compile(
    r"^(slurmstepd|srun).*(oom.?kill|out of memory|exceeded memory limit .*being killed)",
    re.IGNORECASE | re.MULTILINE,
)
LONGEST_PAUSE = 4
"""Between two questions, in units of the first pause: 2 minutes with the profile's 30 seconds. The
plugin's own grows to 3 minutes, at each step of the chain, whatever the site is asked to bear."""
T = TypeVar("T")


class SlurmExecutor(HeedingCauses, plugin.Executor):  # type: ignore[misc]
    """Jobs in SLURM's queue."""

    next_seconds_between_status_checks: float | None

    def __post_init__(self, test_mode: bool = False) -> None:
        """Use what the site has, and end what a killed Snakemake has left; what runs right here
        touches no job of the cluster."""
        self._given_up, self._submitting = Event(), Lock()
        self._sent: set[str] = set()
        self._states: dict[str, str] = {}
        # The plugin's two ways to SLURM, which it has no setting for: Popen runs sbatch only.
        plugin.subprocess = SimpleNamespace(**vars(subprocess) | {"Popen": self._submission})
        plugin.query_job_status = self._ask_states
        if all(job.is_local for job in self.workflow.dag.needrun_jobs()):
            super().__post_init__(test_mode)
            return
        try:
            configuration = self._patiently(partial(answer, "scontrol", "show", "config"))
            super().__post_init__(test_mode)
            self._use_accounts(keeps_accounts(configuration))
            stop_forgotten(os.getcwd())
        except (OSError, RefusedError) as error:
            raise WorkflowError(f"SLURM cannot be asked: {error}") from None

    def _use_accounts(self, are_kept: bool) -> None:
        settings = self.workflow.executor_settings
        if not are_kept:
            settings.status_command = "squeue"
            settings.efficiency_report = False
            print(
                "This cluster keeps no accounts: squeue tells how jobs are, and there is no "
                "efficiency report."
            )

    def cancel(self) -> None:
        """As the plugin's; whoever waits for SLURM waits no longer."""
        self._given_up.set()
        super().cancel()

    def shutdown(self) -> None:
        """As the plugin's; whoever waits for SLURM waits no longer."""
        self._given_up.set()
        super().shutdown()

    def run_jobs(self, jobs: Sequence[Any]) -> None:
        """Send jobs that are ready: those that are alike as an array, if their rule is to be one.

        The plugin waits for more of them than may come, and forgets those that it has.
        """
        super().run_jobs([])
        alike: dict[Any, list[Any]] = {}
        for job in jobs:
            is_for_arrays = not job.is_group() and self.array_jobs & {job.rule.name, "all"}
            key = (job.rule.name, *asked_by(job).items()) if is_for_arrays else job
            alike.setdefault(key, []).append(job)
        for group in alike.values():
            if len(group) > 1:
                self._submit_array_jobs(group)
            else:
                self._submit_job(group[0])

    def get_account_arg(self, job: Any) -> Iterator[str]:
        """As the plugin's, which asks SLURM for it."""

        def arguments() -> list[str]:
            try:
                return list(super(SlurmExecutor, self).get_account_arg(job))
            except WorkflowError as error:
                raise RefusedError(str(error)) from None

        yield from self._patiently(arguments)

    def was_sent(self, job_info: Any) -> bool:
        """Whether SLURM took the job."""
        return job_info.external_jobid is not None

    def state_of(self, job_info: Any) -> str | None:
        """SLURM's word for how a job ended."""
        job = job_info.external_jobid
        for log in self.slurm_logdir.rglob(f"{job}.log"):
            if KILLED_FOR_MEMORY.search(log.read_text(errors="replace")):
                return "OUT_OF_MEMORY"
        return self._states.get(job)

    def _patiently(self, ask: Callable[[], T], always: bool = False) -> T:
        return patiently(ask, self._given_up, always)

    def _submission(self, call: str, **_: Any) -> _Submission:
        return _Submission(partial(self._submit, call))

    def _submit(self, call: str, script: str | None) -> subprocess.CompletedProcess[str]:
        """Call sbatch until it takes the job or refuses it for good, which raises RefusedError.

        One at a time: where the answer to a call was lost, the job may be in the queue all the
        same, and is known by being the one that nobody heard of.
        """
        was_refused = False

        def take() -> subprocess.CompletedProcess[str]:
            nonlocal was_refused
            if was_refused and (unheard := self._jobs_in_queue() - self._sent):
                return subprocess.CompletedProcess(call, 0, max(unheard), "")
            done = subprocess.run(call, shell=True, text=True, input=script, capture_output=True)
            if done.returncode:
                was_refused = True
                raise RefusedError(done.stderr)
            return done

        with self._submitting:
            done = self._patiently(take)
            first = done.stdout.strip().split(";")[0]
            self._sent.add(plugin.validate_or_get_slurm_job_id(first, done.stdout))
        return done

    def _jobs_in_queue(self) -> set[str]:
        """Ids of all jobs of this Snakemake, of arrays the first."""
        of_this = ("--me", "--states", "all", "--name", self.run_uuid)
        return set(answer("squeue", "--noheader", "--format", "%F", *of_this).split())

    async def sleep(self) -> None:
        """As the plugin's, which waits 10 seconds longer each time that no job has ended."""
        longest = LONGEST_PAUSE * self.workflow.executor_settings.init_seconds_before_status_checks
        pause = min(longest, self.next_seconds_between_status_checks or longest)
        self.next_seconds_between_status_checks = pause
        await super().sleep()

    async def _ask_states(self, command: str, _: Any) -> tuple[dict[str, str], float]:
        """The states of all jobs of this Snakemake, and the seconds that it took to know them."""
        if self.workflow.executor_settings.status_command == "squeue":
            # Even where the plugin, for want of an answer, thinks better of it.
            command = plugin.query_job_status_squeue(self.run_uuid)
        # By the ids that sbatch gave: tasks of an array have others too.
        words = shlex.split(command.replace("JobIdRaw", "JobID"))
        began = time.monotonic()
        ask = partial(self._patiently, partial(answer, *words), always=True)
        try:
            table = await asyncio.to_thread(ask)
        except RefusedError:  # given up
            return {}, 0.0
        rows = (line.split("|", 1) for line in table.splitlines() if "|" in line)
        # sacct adds by whom a job was cancelled.
        states = {job.strip(): state.partition(" ")[0] for job, state in rows}
        self._states |= states
        return states, time.monotonic() - began


class _Submission:
    """Stands for the process of sbatch: `communicate` waits until it has succeeded, or will not."""

    def __init__(self, submit: Callable[[str | None], subprocess.CompletedProcess[str]]) -> None:
        self._submit, self.returncode = submit, 0

    def communicate(self, input: str | None = None) -> tuple[str, str]:
        """What sbatch printed."""
        try:
            done = self._submit(input)
        except RefusedError as error:
            self.returncode = 1
            return "", str(error)
        return done.stdout, done.stderr
