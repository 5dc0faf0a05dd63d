"""Jobs as a cluster sees them: what they may use, how long they take, how often they are sent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bld.config.settings import Settings
from bld.pipeline.grouping import SHARDS_PER_JOB
from bld.pipeline.step_settings import Plan as PlanSettings
from bld.pipeline.steps import step
from bld.pipeline.targets import Targets

if TYPE_CHECKING:
    from snakemake.rules import Rule
    from snakemake.workflow import Workflow

    # With torch, which every Snakemake would wait for, also that of a job.
    from bld.pipeline.plan.memory import Memory

RESOURCES = ("runtime", "gpu", "nodes", "mem_mb", SHARDS_PER_JOB)
MINUTES_PER_HOUR = 60


class Limits(NamedTuple):
    """What a job may use: `runtime`, minutes, 0 for no limit; `mem_mb`, 0 where nothing is said;
    GPUs and nodes; how many shards a job scores."""

    runtime: float
    mem_mb: float
    gpus: int
    nodes: int
    shards_per_job: int = 1

    @property
    def processes(self) -> int:
        """Processes of the job: one for each GPU, or one on the CPU."""
        return max(1, self.gpus)


def limits_of(resources: Mapping[str, float]) -> Limits:
    """The limits that these resources set, see `resources_of`."""
    return Limits(
        runtime=resources.get("runtime", 0),
        mem_mb=resources.get("mem_mb", 0),
        gpus=int(resources.get("gpu", 0)),
        nodes=int(resources.get("nodes", 1)),
        shards_per_job=int(resources.get(SHARDS_PER_JOB, 1)),
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


def resources_of(rule: Rule, wildcards: Mapping[str, str]) -> dict[str, float]:
    """What the next job of `rule` gets of RESOURCES; what is 0, or known only when the job runs, is
    left out."""
    from snakemake.iocontainers import InputFiles, Wildcards  # the step runs without Snakemake

    given = rule.expand_resources(Wildcards(fromdict=wildcards), InputFiles(), attempt=1)
    values = {name: given.get(name) for name in RESOURCES}
    return {k: v for k, v in values.items() if isinstance(v, (int, float)) and v}


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
    def hours_per_submission(self) -> float:
        """Hours of work until the time limit, after which the next job goes on."""
        if not self.limits.runtime:
            return math.inf
        return max(0.0, self.limits.runtime - self.start_minutes) / MINUTES_PER_HOUR

    @property
    def submissions(self) -> int:
        """How many times one job is sent; 1 where it gets nowhere."""
        if not self.hours_per_submission:
            return 1
        return max(1, math.ceil(self.hours / self.hours_per_submission))


def all_gpu_hours(jobs: Iterable[Job]) -> float:
    """Of all of them together."""
    return sum(job.gpu_hours * job.count for job in jobs)


def all_submissions(jobs: Iterable[Job]) -> int:
    """Of all of them together."""
    return sum(job.submissions * job.count for job in jobs)


def other_jobs(targets: Targets) -> int:
    """Jobs besides scoring and training that a cluster gets: documents, tokenizers, students,
    rendered splits, caches, maps, benchmarks made here; one for each file that the report reads,
    except documents and the three that a training writes; the report and that of each archive."""
    settings = targets.settings
    documents = set(targets.split_files(settings.runs).values())
    lenders = {*targets.models(), *targets.tokenizers()}
    return (
        len(targets.splits())
        + sum(settings.models[name].scratch is not None for name in lenders)
        + len({run.student for run in settings.runs.values()})
        + len(targets.rendered())
        + len(targets.caches())
        + len(targets.maps())
        + len(targets.local_benchmarks)
        + len(set(targets.report_files(settings.runs)) - documents)
        - 3 * len(settings.runs)
        + 1
        + len(settings.archives)
    )
