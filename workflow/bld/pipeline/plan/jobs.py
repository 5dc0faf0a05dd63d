"""Jobs as a cluster sees them: what they may use, how long they take, how often they are sent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bld.config.settings import Settings
from bld.pipeline.plan.memory import Memory
from bld.pipeline.step_settings import Plan as PlanSettings
from bld.pipeline.steps import step
from bld.pipeline.targets import Targets

if TYPE_CHECKING:
    from snakemake.rules import Rule
    from snakemake.workflow import Workflow

RESOURCES = ("runtime", "gpu", "nodes", "mem_mb")
MINUTES_PER_HOUR = 60


class Limits(NamedTuple):
    """What a job may use: `runtimes`, minutes of each attempt, 0 for no limit; `mem_mb` of each
    attempt, 0 where nothing is said; GPUs and nodes."""

    runtimes: tuple[float, ...]
    mem_mb: tuple[float, ...]
    gpus: int
    nodes: int

    @property
    def processes(self) -> int:
        """Processes of the job: one for each GPU, or one on the CPU."""
        return max(1, self.gpus)


def limits_of(attempts: Sequence[Mapping[str, float]]) -> Limits:
    """The limits that the resources of each attempt set, see `resources_of`."""
    first = attempts[0]
    return Limits(
        runtimes=tuple(attempt.get("runtime", 0) for attempt in attempts),
        mem_mb=tuple(attempt.get("mem_mb", 0) for attempt in attempts),
        gpus=int(first.get("gpu", 0)),
        nodes=int(first.get("nodes", 1)),
    )


def plan_step(workflow: Workflow, settings: Settings) -> str:
    """The step line of `plan`: the configuration as it was written, and the resources of scoring
    and training jobs, by rule and name. Only the rules call this."""
    models = settings.models.items()
    scratch = [name for name, model in models if model.scratch and model.scratch.training]
    names = {
        "score_teacher": ("teacher", settings.teachers),
        "pretrain": ("model", scratch),
        "warm_up": ("run", settings.runs),
        "distill": ("run", settings.runs),
    }
    limits = {
        rule: {name: resources_of(workflow.get_rule(rule), {key: name}) for name in entries}
        for rule, (key, entries) in names.items()
    }
    return step("plan", PlanSettings(configuration=settings, limits=limits))


def resources_of(rule: Rule, wildcards: Mapping[str, str]) -> list[dict[str, float]]:
    """What each attempt of a job of `rule` gets of RESOURCES; what is 0, or known only when the job
    runs, is left out."""
    from snakemake.iocontainers import InputFiles, Wildcards  # the step runs without Snakemake

    attempts = []
    for attempt in range(1, rule.restart_times + 2):
        given = rule.expand_resources(Wildcards(fromdict=wildcards), InputFiles(), attempt)
        values = {name: given.get(name) for name in RESOURCES}
        attempts.append({k: v for k, v in values.items() if isinstance(v, (int, float)) and v})
    return attempts


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job of a rule for a target, or `count` of them that are alike: GPU-hours of each, what each
    takes of a GPU's memory, and minutes that it needs besides its work."""

    rule: str
    target: str
    gpu_hours: float
    memory: Memory
    limits: Limits
    start_minutes: float
    count: int = 1

    @property
    def name(self) -> str:
        """As Snakemake's own plan names it."""
        return f"{self.rule} {self.target}"

    @property
    def hours(self) -> float:
        """Hours of one job on all its GPUs."""
        return self.gpu_hours / self.limits.processes

    @property
    def available_hours(self) -> float:
        """Hours of work in all attempts together."""
        return sum(map(self._work_hours, self.limits.runtimes))

    @property
    def submissions(self) -> int:
        """How many attempts one job takes, or has."""
        done = 0.0
        for number, runtime in enumerate(self.limits.runtimes, start=1):
            done += self._work_hours(runtime)
            if done >= self.hours:
                return number
        return len(self.limits.runtimes)

    def _work_hours(self, runtime: float) -> float:
        if not runtime:
            return math.inf
        return max(0.0, runtime - self.start_minutes) / MINUTES_PER_HOUR


def all_gpu_hours(jobs: Iterable[Job]) -> float:
    """Of all of them together."""
    return sum(job.gpu_hours * job.count for job in jobs)


def all_submissions(jobs: Iterable[Job]) -> int:
    """Of all of them together."""
    return sum(job.submissions * job.count for job in jobs)


def other_jobs(targets: Targets) -> int:
    """Jobs besides scoring and training that a cluster gets: documents, tokenizers, students,
    caches, maps, benchmarks made here; one for each file that the report reads, except the three
    that a training writes; the report and that of each archive."""
    settings = targets.settings
    lenders = {*targets.models(), *targets.tokenizers()}
    return (
        len(targets.splits())
        + sum(settings.models[name].scratch is not None for name in lenders)
        + len({run.student for run in settings.runs.values()})
        + len(targets.caches())
        + len(targets.maps())
        + len(targets.local_benchmarks)
        + len(targets.report_files(settings.runs))
        - 3 * len(settings.runs)
        + 1
        + len(settings.archives)
    )
