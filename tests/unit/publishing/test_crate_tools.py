"""What public tools say of a crate. They have an environment of their own, which `make test`
makes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(sys.prefix) / "crates/bin"
VALIDATE = Path(__file__).parents[2] / "crates/validate.py"
pytestmark = pytest.mark.skipif(
    not TOOLS.exists(), reason="no environment with the tools: `make .venv/crates.done`"
)
# What the profile recommends and a crate does not do, and why.
EXPLAINED = {
    # The project has no public address that could be named.
    ("process-run-crate-0.5_3.2", "./Snakefile"),
    # The workflow is a file of the crate, so its id is its path; the check asks it of both of its
    # types.
    ("process-run-crate-0.5_5.1", "https://bioschemas.org/ComputationalWorkflow"),
    ("process-run-crate-0.5_5.1", "http://schema.org/SoftwareSourceCode"),
    # Bioschemas' profile wants inputs and outputs as typed parameters; ours are files and one
    # configuration.
    ("workflow-ro-crate-1.0_8.1", "./Snakefile"),
    # Who publishes a crate is not known when it is made.
    ("ro-crate-1.1_22.3", "./"),
    # The default names no author, and none is made up.
    ("ro-crate-1.1_22.2", "./"),
}


def issues(crate):
    command = [TOOLS / "python", VALIDATE, crate]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_public_validator_finds_nothing_that_is_not_explained(made_up):
    found = issues(made_up.archive())
    assert [issue for issue in found if issue["severity"] == "REQUIRED"] == []
    assert {(issue["check"], issue["entity"]) for issue in found} <= EXPLAINED
    assert len(found) < 10


def test_it_finds_no_more_in_a_crate_with_an_author_and_without_a_log(made_up):
    Path("logs/distill/bld.log").write_text("from https://bob:" + "hunter2@mirror.org/\n")
    author = {"name": "A Person", "orcid": "0000-0002-1825-0097", "affiliation": "An Institute"}
    found = issues(made_up.archive(authors=[author]))
    # The address of an affiliation is not asked for.
    address = ("ro-crate-1.1_31.2", "./#organisation/An%20Institute")
    assert {(issue["check"], issue["entity"]) for issue in found} <= EXPLAINED | {address}


def test_runcrate_reports_every_step(made_up):
    done = subprocess.run(
        [TOOLS / "runcrate", "report", made_up.archive()], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    actions = [line for line in done.stdout.splitlines() if line.startswith("action: ")]
    assert len(actions) == 12 + 1
    assert actions[0] == "action: #run"
