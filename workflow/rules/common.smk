# The validated settings, and what every rule shares.

import os
import re
import shlex
import sys

from snakemake import __version__ as SNAKEMAKE_VERSION
from snakemake.exceptions import WorkflowError

PACKAGE = f"{workflow.basedir}/workflow"
sys.path.insert(0, PACKAGE)

from bld.config.checks import ConfigError
from bld.pipeline.executors import use_executors
from bld.pipeline.grouping import share_jobs
from bld.pipeline.hooks import report_so_far, stale_step
from bld.pipeline.paths import EVALUATED, NAME, REPORT, model_folder, one_of, split_manifest
from bld.pipeline.pins import read_pinned
from bld.pipeline.steps import Steps, files
from bld.pipeline.targets import MAPS, Targets
from bld.publishing.selection import Selection

try:
    SETTINGS = read_pinned(config, workflow)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

HAS_ENVIRONMENTS = bool(workflow.deployment_settings.deployment_method)
TARGETS = Targets(SETTINGS)
STEPS = Steps(TARGETS, HAS_ENVIRONMENTS)
SELECTION = Selection(TARGETS, SNAKEMAKE_VERSION)

# Inside a conda environment Snakemake takes PYTHONPATH away, so commands set it themselves; the
# options of bash are those that Snakemake sets itself where there is no prefix.
shell.prefix(f"set -euo pipefail; export PYTHONPATH={shlex.quote(PACKAGE)}; ")
# What every job's Python reads: no packages of the user's own beside those of its environment, no
# network and no bars of others (fetch rules switch them on), and threads that sleep while they
# wait.
os.environ.update(
    PYTHONNOUSERSITE="1",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_EVALUATE_OFFLINE="1",
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
    reader="students|tokenizers",
    name=NAME,
    run=NAME,
    evaluated=EVALUATED,


# How rules call their stage: with its step and the files that they name as one text each; where it
# may be interrupted, with a place for what it leaves; trainings by a launcher.
CALL = "bld.stages.{params.stage} --step {params.step:q} --files {params.files:q} --log {log:q}"
RESUME = "--checkpoints checkpoints/{params.name:q}"
LIMITS = "--runtime {resources.runtime} --checkpoint-minutes {resources.checkpoint_minutes}"
SHOWN = "--tracker {resources.tracker} --events logs/tensorboard/{params.name:q}"
LAUNCH = "bld.pipeline.launch --nodes {resources.nodes} --processes {resources.gpu}"
ASKED = "--asked-by {resources.asked_by:q}"
RUN = f"python -m {CALL} 2>&1 | tee {{log:q}}"
SCORE = f"python -m {CALL} {RESUME} 2>&1 | tee {{log:q}}"
TRAIN = f"python -m {LAUNCH} -m {CALL} {RESUME} {LIMITS} {SHOWN} 2>&1 | tee {{log:q}}"
LINK = f"python -m {CALL} {ASKED} 2>&1 | tee {{log:q}}"
ONLINE = "HF_HUB_OFFLINE=0 HF_HUB_DISABLE_PROGRESS_BARS=0"
FETCH = f"{ONLINE} {LINK}"
