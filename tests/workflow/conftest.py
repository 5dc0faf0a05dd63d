"""Snakemake, as a user would call it, on configurations in temporary folders and without
network."""

import copy
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from hub_mirror import COMMIT, TOKEN, Mirror

ROOT = Path(__file__).parents[2]


class Plan:
    """What a dry run says: `counts` of jobs by rule; by job, named by its rule and wildcards, its
    `steps` line, the files that it `reads` and `makes`, and the `reasons` for it."""

    def __init__(self, text):
        self.counts, self.steps, self.reads, self.makes, self.reasons = {}, {}, {}, {}, {}
        if "Nothing to be done" in text:
            return
        table = text.split("Job stats:\n", 1)[1].split("\n\n")[0].splitlines()[2:]
        self.counts = {line.split()[0]: int(line.split()[1]) for line in table}
        assert self.counts.pop("total") == sum(self.counts.values())
        for job in re.split(r"\n(?=(?:local)?rule \S+:\n)", text)[1:]:

            def said(what, job=job):
                found = re.search(rf"^    {what}: (.*)$", job, re.MULTILINE)
                return found[1] if found else ""

            wildcards = [part.split("=")[1] for part in said("wildcards").split(", ") if part]
            name = " ".join([re.match(r"(?:local)?rule (\S+):", job)[1], *wildcards])
            self.reads[name] = {path for path in said("input").split(", ") if path}
            self.makes[name] = {path for path in said("output").split(", ") if path}
            self.reasons[name] = said("reason")
            if command := re.search(r"^Shell command: (.*)$", job, re.MULTILINE):
                parts = shlex.split(command[1])
                if "--step" in parts:
                    self.steps[name] = parts[parts.index("--step") + 1]

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
def finished(new_checkout):
    """A copy of the project in which, for all that Snakemake knows, everything was made; each file
    holds its own name."""
    checkout = new_checkout()
    lines = [line.split("\t") for line in checkout.snakemake("--summary").splitlines()]
    made = [line[0] for line in lines if len(line) > 1][1:]
    for name in made:
        (checkout.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout.folder / name).write_text(name)
    checkout.snakemake("--touch", "--forceall")
    return checkout


class Made:
    """A copy of the finished folder, to be edited, somewhere else."""

    def __init__(self, checkout):
        self.folder, self.env, self._checkout = checkout.folder, checkout.env, checkout

    def configure(self, configuration):
        text = yaml.safe_dump(configuration, sort_keys=False)
        (self.folder / "config/config.yaml").write_text(text)

    def edit(self, name, change):
        path = self.folder / name
        text = path.read_text()
        assert change(text) != text, "nothing was there to be edited"
        path.write_text(change(text))

    def plan(self, *arguments, env=None):
        return Plan(self._checkout.snakemake("--dry-run", *arguments, env=env))

    def stale(self, *arguments, env=None):
        """The jobs that would run again; the shards of a split count as one."""
        return names(self.plan(*arguments, env=env).reads)


def one_name(job):
    return re.sub(r" \d{5}-of-\d{5}$", "", job)


def names(jobs):
    return {one_name(job) for job in jobs} - {"all"}


@pytest.fixture
def made(finished, tmp_path):
    return Made(finished.copied_to(tmp_path / "moved"))


@pytest.fixture
def made_in_environments(finished, conda, tmp_path):
    """Each job of the finished folder had the environment of its rule; the folder lies somewhere
    else now."""
    before = finished.copied_to(tmp_path / "before")
    before.snakemake("--touch", "--forceall", "--sdm", "conda", env=conda)
    return Made(before.copied_to(tmp_path / "moved"))


@pytest.fixture(scope="session")
def every_job(finished):
    """Each job of the embedded default with what it reads and makes."""
    return Plan(finished.snakemake("--dry-run", "--forceall"))


@pytest.fixture(scope="session")
def with_followers(every_job):
    """These jobs, or all jobs of these rules, and whatever reads what they make, however far on."""

    def walk(stale):
        found = {job for job in every_job.reads if {one_name(job), job.split()[0]} & set(stale)}
        assert names(found) >= {job for job in stale if " " in job}
        while True:
            made = set().union(*(every_job.makes[job] for job in found))
            more = {job for job, reads in every_job.reads.items() if reads & made} - found
            if not more:
                return names(found)
            found |= more

    return walk


@pytest.fixture(scope="session")
def rules(no_network):
    """Every rule as Snakemake has read it, by name."""
    command = [sys.executable, Path(__file__).parent / "list_rules.py", ROOT]
    done = subprocess.run(command, env=no_network, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def mirror():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.served, server.refusal, server.tokens = {}, None, set()
    server.commits, server.branches = {COMMIT}, {"main": COMMIT}
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def offline(no_network):
    """The environment of processes that find the package, and no network but this machine's."""
    return no_network | {"PYTHONPATH": f"{ROOT / 'workflow'}:{no_network['PYTHONPATH']}"}


@pytest.fixture
def online(mirror, offline, tmp_path):
    """The environment of somebody who has an account of the hub and a mirror of it."""
    hub = {"HF_ENDPOINT": mirror.address, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "home")}
    return offline | hub | {"HF_HUB_DISABLE_TELEMETRY": "1"}
