"""What the profile gives to jobs, read off Snakemake's own rules while it reads the workflow: numbers, texts, functions of
the attempt.

Only the rules import this module; the step itself runs where there need be no Snakemake.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snakemake.iocontainers import InputFiles, Wildcards
from snakemake.rules import Rule
from snakemake.workflow import Workflow

from bld.config.settings import Settings

RESOURCES = ("runtime", "gpu", "nodes", "mem_mb")


def plan_settings(
    workflow: Workflow, settings: Settings, config: Mapping[str, Any]
) -> dict[str, Any]:
    """What the step `plan` reads: the whole configuration as it was written (`config`), and the resources of the jobs that
    it judges, by rule and name."""
    wildcards = {
        "score_teacher": {name: {"teacher": name} for name in settings.teachers},
        "pretrain": {name: {"model": name} for name, x in settings.models.items() if x.scratch},
        "warm_up": {name: {"run": name} for name in settings.runs},
        "distill": {name: {"run": name} for name in settings.runs},
    }
    limits = {
        rule: {name: resources_of(workflow.get_rule(rule), given) for name, given in jobs.items()}
        for rule, jobs in wildcards.items()
    }
    return {"configuration": config, "limits": limits}


def resources_of(rule: Rule, wildcards: Mapping[str, str]) -> list[dict[str, float]]:
    """What each attempt of a job of `rule` gets of RESOURCES; what is 0, or known only when it runs, is left out."""
    attempts = []
    for attempt in range(1, rule.restart_times + 2):
        given = rule.expand_resources(Wildcards(fromdict=wildcards), InputFiles(), attempt)
        values = {name: given.get(name) for name in RESOURCES}
        attempts.append({k: v for k, v in values.items() if isinstance(v, (int, float)) and v})
    return attempts
