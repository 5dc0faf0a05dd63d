# The validated settings, and what rules ask of them.

import glob
import os
import re
import sys

from snakemake.exceptions import WorkflowError

PACKAGE = f"{workflow.basedir}/workflow"
sys.path.insert(0, PACKAGE)

from bld.config_checks import ConfigError, read_settings
from bld.documents.splits import shard_name
from bld.provenance.step import step_line

try:
    SETTINGS = read_settings(config)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

# What every job's Python reads: the package, no network (fetch rules switch it on), and threads that sleep while they wait.
os.environ.update(
    PYTHONPATH=PACKAGE,
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TOKENIZERS_PARALLELISM="false",
    OMP_WAIT_POLICY="PASSIVE",
    PYTHONWARNINGS="ignore::FutureWarning",
)

REPORT = "results/report/index.html"
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"


wildcard_constraints:
    model=NAME,
    dataset=NAME,
    corpus=NAME,
    split=NAME,
    shard=r"\d{5}-of-\d{5}",
    teacher=NAME,
    student=NAME,
    run=NAME,


def step(stage, settings):
    """The one parameter of a rule: what its stage reads and the digest of what it runs."""
    return step_line(f"bld.stages.{stage}", settings)


def one_of(names):
    """A wildcard constraint: one of these names; without any, nothing."""
    return "|".join(re.escape(name) for name in names) or r"(?!)"


def model_folder(name):
    return f"resources/models/{name}/manifest.json"


def student_folder(name):
    return f"results/students/{name}/manifest.json"


def split_manifest(corpus, split):
    return f"results/corpora/{corpus}/{split}/manifest.json"


def split_shards(corpus, split):
    count = SETTINGS.corpora[corpus].splits[split].shards
    return [
        f"results/corpora/{corpus}/{split}/{shard_name(number, count)}.parquet"
        for number in range(count)
    ]


def split_files(corpus, split):
    return [split_manifest(corpus, split), *split_shards(corpus, split)]


def reading(model):
    """How documents are rendered for a model."""
    keys = {"template", "template_arguments", "end_tokens", "trust_remote_code"}
    return SETTINGS.models[model].model_dump(include=keys)


def student_reading(name):
    """How documents are rendered for a student: as for the model whose tokenizer it has."""
    student = SETTINGS.students[name]
    model = student.tokenizer if student.tokenizer in SETTINGS.models else student.model
    trusted = SETTINGS.models[student.model].trust_remote_code
    return reading(model) | {"trust_remote_code": trusted}
