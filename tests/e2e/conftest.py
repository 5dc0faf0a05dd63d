"""The embedded default, run once for all tests that look at it."""

import json

import pytest


@pytest.fixture(scope="session")
def demo(new_checkout):
    """The folder in which it was run; `printed` is what Snakemake said."""
    checkout = new_checkout()
    checkout.printed = checkout.snakemake()
    return checkout


@pytest.fixture(scope="session")
def summary(demo):
    return json.loads((demo.folder / "results/report/summary.json").read_text())


@pytest.fixture(scope="module")
def copied(demo, tmp_path_factory):
    """The demo in a folder of its own, for tests that change it."""
    return demo.copied_to(tmp_path_factory.mktemp("copied") / "project")
