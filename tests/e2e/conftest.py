"""The embedded default, run once for all tests that look at it."""

import copy
import json
import shutil

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
    other = copy.copy(demo)
    other.folder = tmp_path_factory.mktemp("copied") / "project"
    shutil.copytree(demo.folder, other.folder, symlinks=True)
    return other
