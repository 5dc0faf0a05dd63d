"""What an attempt of a job asks for: more of what was not enough, and of nothing else.

Profiles say how memory and time grow, by `attempt` (`mem_mb: 8000 * attempt`). Snakemake counts
every attempt there, whatever became of the one before. Here memory grows for jobs that were killed
for their memory alone, and time for those alone that ran out of it and saved nothing: a job gets
the value of the first attempt that is more than what was found not to be enough, by a Snakemake
that has since been killed too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bld.pipeline.attempts import Attempts, Cause
from bld.pipeline.step import RECORD, parse_step

if TYPE_CHECKING:
    from snakemake.rules import Rule
    from snakemake.workflow import Workflow

NOT_ENOUGH = {"mem_mb": Cause.MEMORY, "mem_mb_per_cpu": Cause.MEMORY, "runtime": Cause.TIME}
"""The resources that grow, by why a job ended that had too little of them."""
STEP = "step"


def grow_by_causes(workflow: Workflow) -> None:
    """Let the resources of all rules grow so; after the last rule, and in every process that
    evaluates resources, as that of the job does."""
    for rule in workflow.rules:
        if rule.output.get(RECORD):
            for name in NOT_ENOUGH.keys() & rule.resources.keys():
                rule.resources[name] = _growing(rule, name)


def _growing(rule: Rule, name: str) -> Any:
    """The resource of a rule, as a function that Snakemake calls with what it knows of a job."""
    given = rule.resources[name]
    if not given.is_evaluable():
        return given

    def asked(wildcards: Any, attempt: int, **known: Any) -> Any:
        def at(attempt: int) -> Any:
            return given.evaluate(wildcards, attempt=attempt, **known).value

        return first_beyond(at, _not_enough(rule, name, wildcards))

    return asked


def first_beyond(value: Callable[[int], Any], not_enough: int | None) -> Any:
    """The `value` of the first attempt that is more than what was `not_enough`; the largest there
    is where values stop to grow."""
    attempt, best = 1, value(1)
    while not_enough is not None and isinstance(best, int) and best <= not_enough:
        attempt += 1
        following = value(attempt)
        if not isinstance(following, int) or following <= best:
            break
        best = following
    return best


def _not_enough(rule: Rule, name: str, wildcards: Any) -> int | None:
    values = dict(wildcards.items())
    if not rule.wildcard_names <= values.keys():  # a plan asks for all jobs of a teacher at once
        return None
    record = Path(str(rule.output[RECORD].apply_wildcards(values)))
    if not Attempts(record, "").path.exists():
        return None
    return Attempts(record, parse_step(rule.params[STEP](wildcards)).identity).not_enough(
        NOT_ENOUGH[name], name
    )


def attempts_of(job: Any) -> Attempts | None:
    """Those of a job of Snakemake's; None if its rule leaves no record."""
    record = job.output.get(RECORD)
    if not record:
        return None
    first = record if isinstance(record, str) else record[0]
    return Attempts(Path(first), parse_step(job.params[STEP]).identity)


def asked_by(job: Any) -> Mapping[str, int]:
    """What a job got of the resources that grow."""
    resources = {name: job.resources.get(name) for name in NOT_ENOUGH}
    return {name: value for name, value in resources.items() if isinstance(value, int)}
