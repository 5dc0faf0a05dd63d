"""Several shards of a split in one job, which reads the teacher once.

Snakemake's own groups share a submission, not a process. A rule with a wildcard for groups would
name its files by their number, and be stale where it changes. So the job of a group is that of its
first shard, whose rule makes the files of the others too: every shard keeps its files, settings and
inputs, and how many share a job is a resource, which makes nothing stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bld.files import shard_name

if TYPE_CHECKING:
    from snakemake.rules import Rule
    from snakemake.workflow import Workflow

SHARD, SHARDS_PER_JOB = "shard", "shards_per_job"


def shards_of_job(shard: str, per_job: int) -> list[str]:
    """The shards of the job that this one, "00009-of-00128", belongs to, in their order."""
    number, count = (int(part) for part in shard.split("-of-"))
    first = number - number % per_job
    return [shard_name(index, count) for index in range(first, min(first + per_job, count))]


def share_jobs(workflow: Workflow) -> None:
    """Let the rules that say how many shards share a job do so; in every process that plans."""
    for rule in workflow.rules:
        if SHARDS_PER_JOB in rule.resources:
            given = rule.resources[SHARDS_PER_JOB]
            per_job = None if given.is_evaluable() else given.value
            if not isinstance(per_job, int) or per_job < 1:
                raise ValueError(
                    f"{rule.name}: expected a whole number of at least 1 as {SHARDS_PER_JOB}, "
                    f"found {given!r}"
                )
            if per_job > 1:
                _share(rule, per_job)


def _share(rule: Rule, per_job: int) -> None:
    own_wildcards, own_output = rule.get_wildcards, rule.expand_output

    def get_wildcards(*arguments: Any, **named: Any) -> dict[str, Any]:
        """Those of the group's first shard, whichever is asked for."""
        found: dict[str, Any] = own_wildcards(*arguments, **named)
        return {**found, SHARD: shards_of_job(found[SHARD], per_job)[0]} if found else found

    def expand_output(wildcards: Mapping[str, str]) -> tuple[Any, dict[Any, Any]]:
        """The files of all shards, under each name those of one kind, and their patterns."""
        shards = shards_of_job(wildcards[SHARD], per_job)
        expanded = [own_output({**wildcards, SHARD: shard}) for shard in shards]
        output = type(expanded[0][0])()
        for kind, name in enumerate(dict(rule.output.items())):
            output.extend(files[kind] for files, _ in expanded)
            output._set_name(name, len(output) - len(shards), end=len(output))
        return output, {file: of for _, mapping in expanded for file, of in mapping.items()}

    rule.get_wildcards, rule.expand_output = get_wildcards, expand_output
