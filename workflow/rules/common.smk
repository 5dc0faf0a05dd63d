# The validated settings, and what every rule shares.

import os
import re
import shlex
import sys

from snakemake.exceptions import WorkflowError

PACKAGE = f"{workflow.basedir}/workflow"
sys.path.insert(0, PACKAGE)

from bld.config.checks import ConfigError, read_settings
from bld.pipeline.step import step_line
from bld.pipeline.targets import EVALUATED, MAPS, NAME, REPORT, Targets
from bld.pipeline.targets import model_folder, split_manifest

try:
    SETTINGS = read_settings(config)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

TARGETS = Targets(SETTINGS)

# Inside a conda environment Snakemake takes PYTHONPATH away, so commands set it themselves; the options of bash are
# those that Snakemake sets itself where there is no prefix.
shell.prefix(f"set -euo pipefail; export PYTHONPATH={shlex.quote(PACKAGE)}; ")
# What every job's Python reads: no packages of the user's own beside those of its environment, no network and no bars of
# others (fetch rules switch them on), and threads that sleep while they wait.
os.environ.update(
    PYTHONNOUSERSITE="1",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    TOKENIZERS_PARALLELISM="false",
    OMP_WAIT_POLICY="PASSIVE",
    PYTHONWARNINGS="ignore::FutureWarning",
)


wildcard_constraints:
    model=NAME,
    dataset=NAME,
    corpus=NAME,
    split=NAME,
    shard=r"\d{5}-of-\d{5}",
    teacher=NAME,
    student=NAME,
    run=NAME,
    evaluated=EVALUATED,


def one_of(names):
    """A wildcard constraint: one of these names; without any, nothing."""
    return "|".join(re.escape(name) for name in names) or r"(?!)"


def step(stage, settings):
    """The one parameter of a rule: what its stage reads and the digest of what it runs."""
    return step_line(f"bld.stages.{stage}", settings)


def has_environments():
    """Whether each rule runs in an environment of its own."""
    return bool(workflow.deployment_settings.deployment_method)


def snakemake_command(target):
    """A Snakemake of its own for `target`, as this one was called; it still needs its `--configfile`."""
    deployment = workflow.deployment_settings
    methods = sorted(str(method) for method in deployment.deployment_method)
    return (
        [sys.executable, "-m", "snakemake", target, "--cores", "1", "--no-hooks"]
        + ["--snakefile", workflow.main_snakefile]
        + ["--software-deployment-method", *methods] * bool(methods)
        + ["--conda-prefix", str(deployment.conda_prefix)] * bool(deployment.conda_prefix)
    )
