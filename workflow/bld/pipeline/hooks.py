"""What the workflow does besides its rules: after a failure, and when it calls itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from snakemake.workflow import Workflow

from bld.pipeline.paths import REPORT
from bld.pipeline.step import step_line
from bld.pipeline.step_settings import Stale
from bld.pipeline.targets import Targets


def snakemake_command(workflow: Workflow, target: str) -> list[str]:
    """A Snakemake of its own for `target`, as this one was called; it still needs its
    `--configfile`."""
    deployment = workflow.deployment_settings
    methods = sorted(str(method) for method in deployment.deployment_method)
    return [
        *(sys.executable, "-m", "snakemake", target, "--cores", "1", "--no-hooks"),
        *("--snakefile", workflow.main_snakefile),
        *["--software-deployment-method", *methods] * bool(methods),
        *["--conda-prefix", str(deployment.conda_prefix)] * bool(deployment.conda_prefix),
    ]


def stale_step(workflow: Workflow, config: Mapping[str, Any]) -> str:
    """What `snakemake stale` asks, and of which configuration."""
    command = snakemake_command(workflow, "all")
    command += ["--dry-run", "--printshellcmds", "--nolock", "--rerun-incomplete"]
    # As text, since a step sorts its settings and the order of splits means something.
    settings = Stale(command=command, configuration=json.dumps(config))
    return step_line("bld.stages.stale", settings.dump())


def report_so_far(workflow: Workflow, targets: Targets, config: Mapping[str, Any]) -> None:
    """After a failure, make the page of what there is: by a Snakemake of its own, so in its rule's
    environment."""
    is_wanted = any(job.rule.name == "report" for job in workflow.dag.jobs)
    trainings = (targets.run_files(run)["training"] for run in targets.settings.runs)
    if not (is_wanted and any(map(os.path.exists, trainings))):
        return
    with tempfile.NamedTemporaryFile("w", suffix=".json") as settings:
        json.dump(config, settings)
        settings.flush()
        command = snakemake_command(workflow, "report_so_far")
        done = subprocess.run([*command, "--configfile", settings.name, "--quiet", "all"])
    if done.returncode == 0:
        print(f"\nNot everything was made. The report of what there is: {os.path.abspath(REPORT)}")
