"""Snakemake, as a user would call it, on configurations in temporary folders and without network."""

import copy
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


class Plan:
    """What a dry run says: `counts` of jobs by rule, and the step line of every job, named by its rule and wildcards."""

    def __init__(self, text):
        table = text.split("Job stats:\n", 1)[1].split("\n\n")[0].splitlines()[2:]
        self.counts = {line.split()[0]: int(line.split()[1]) for line in table}
        assert self.counts.pop("total") == sum(self.counts.values())
        self.steps = {}
        for job in re.split(r"\n(?=(?:local)?rule \S+:\n)", text)[1:]:
            rule = re.match(r"(?:local)?rule (\S+):", job)[1]
            wildcards = re.search(r"^    wildcards: (.*)$", job, re.MULTILINE)
            values = [part.split("=")[1] for part in wildcards[1].split(", ")] if wildcards else []
            command = shlex.split(re.search(r"^Shell command: (.*)$", job, re.MULTILINE)[1])
            if "--step" in command:
                self.steps[" ".join([rule, *values])] = command[command.index("--step") + 1]

    def settings(self, job):
        return json.loads(self.steps[job])["settings"]


@pytest.fixture(scope="session")
def no_network():
    """The environment of processes that find this Python's programs and no network."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(Path(__file__).parent / "no_network")}


@pytest.fixture(scope="session")
def snakemake(no_network):
    """Call Snakemake in a folder."""

    def call(folder, *arguments):
        where = ["--snakefile", ROOT / "Snakefile", "--directory", folder]
        command = [str(part) for part in ("snakemake", *where, *arguments)]
        return subprocess.run(command, env=no_network, capture_output=True, text=True)

    return call


@pytest.fixture(scope="session")
def write_default():
    """Put a configuration, a mapping or a text, where Snakemake looks for the default."""

    def write(folder, configuration):
        if not isinstance(configuration, str):
            configuration = yaml.safe_dump(configuration, sort_keys=False)
        (folder / "config").mkdir(exist_ok=True)
        (folder / "config/config.yaml").write_text(configuration)

    return write


@pytest.fixture(scope="session")
def default():
    """Makes a copy of the default configuration, to be edited."""
    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    return lambda: copy.deepcopy(raw)


@pytest.fixture(scope="session")
def plan(tmp_path_factory, snakemake, write_default):
    """What would be run for a configuration: a file, or what the default in its folder is to be."""

    def make(configuration, folder=None, arguments=()):
        folder, file = folder or tmp_path_factory.mktemp("plan"), []
        if isinstance(configuration, Path):
            file = ["--configfile", configuration]
        else:
            write_default(folder, configuration)
        done = snakemake(folder, "--dry-run", "--printshellcmds", *file, *arguments)
        assert done.returncode == 0, done.stderr + done.stdout
        return Plan(done.stdout)

    return make


@pytest.fixture(scope="session")
def default_plan(plan):
    return plan(ROOT / "config/config.yaml")


@pytest.fixture(scope="session")
def rules(no_network):
    """Every rule as Snakemake has read it, by name."""
    command = [sys.executable, Path(__file__).parent / "list_rules.py", ROOT]
    done = subprocess.run(command, env=no_network, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
