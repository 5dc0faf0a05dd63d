"""The embedded default, run once for all tests that look at it: in small form, or whole."""

import json
import os

import pytest

WHOLE = bool(os.environ.get("BLD_TEST_WHOLE_DEMO"))
# What the demo has many of, in numbers that still let its teacher be better than its student.
SMALL = {
    "corpora.python_docs.splits.train.documents": 2500,
    "corpora.python_docs.splits.validation.documents": 120,
    "corpora.python_docs.splits.development.documents": 24,
    "models.teacher.scratch.training.steps": 180,
    "training.steps": 60,
    "training.evaluate_every": 30,
    "training.evaluate_documents": 16,
    "head_warmup.steps": 40,
    "evaluation.divergence_documents": 12,
    "benchmarks.documentation.local.documents": 16,
    "benchmarks.next_line.local.documents": 30,
    "benchmarks.next_word.local.documents": 30,
    "benchmarks.harness_bits.local.documents": 20,
    "audit.documents": 6,
}


def small(configuration):
    """A configuration with these numbers in place of its own."""
    for key, value in SMALL.items():
        *sections, last = key.split(".")
        section = configuration
        for name in sections:
            section = section[name]
        assert section[last] > value, key
        section[last] = value
    return configuration


@pytest.fixture(scope="session")
def demo(new_checkout):
    """The folder in which it was run; `printed` is what Snakemake said."""
    checkout = new_checkout({} if WHOLE else {"config/config.yaml": small})
    checkout.printed = checkout.snakemake()
    return checkout


@pytest.fixture(scope="session")
def summary(demo):
    return json.loads((demo.folder / "results/report/summary.json").read_text())


@pytest.fixture(scope="module")
def copied(demo, tmp_path_factory):
    """The demo in a folder of its own, for tests that change it."""
    return demo.copied_to(tmp_path_factory.mktemp("copied") / "project")
