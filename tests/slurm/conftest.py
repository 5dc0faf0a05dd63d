"""A real SLURM on this machine, and a researcher's copy of the project on it."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

HERE = Path(__file__).parent
SITE = {"your-account": "ci", "your-cpu-partition": "cpu", "your-gpu-partition": "gpu"}


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cluster_module = load(HERE / "cluster.py")


class Site:
    """A copy of the project whose profile has been edited for the cluster, as its user would."""

    def __init__(self, checkout, env, configuration):
        self.folder, self.env = checkout.folder, env
        self.profile = self.folder / "profiles/slurm/config.yaml"
        text = self.profile.read_text()
        for placeholder, value in SITE.items():
            assert placeholder in text
            text = text.replace(placeholder, value)
        # A cluster of one user on one machine needs no gentleness.
        text = text.replace(
            "slurm-init-seconds-before-status-checks: 30",
            "slurm-init-seconds-before-status-checks: 1",
        )
        self.profile.write_text(text)
        self.configuration = self.folder / "config/config.yaml"
        self.configuration.write_text(yaml.safe_dump(configuration, sort_keys=False))

    def edit_profile(self, **settings):
        """Change top-level settings; `rules` are laid over `set-resources`."""
        profile = yaml.safe_load(self.profile.read_text())
        for rule, resources in settings.pop("rules", {}).items():
            profile["set-resources"][rule] = profile["set-resources"].get(rule, {}) | resources
        profile |= {name.replace("_", "-"): value for name, value in settings.items()}
        self.profile.write_text(yaml.safe_dump(profile, sort_keys=False))

    def start(self, *arguments):
        """Start `snakemake --profile slurm`; what it prints goes into snakemake.log."""
        with (self.folder / "snakemake.log").open("w") as log:
            return subprocess.Popen(
                ["snakemake", "--profile", "slurm", *arguments],
                cwd=self.folder,
                env=self.env,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def printed(self):
        return (self.folder / "snakemake.log").read_text()

    def snakemake(self, *arguments):
        """What the command prints; fails the test if it fails."""
        code = self.start(*arguments).wait()
        assert code == 0, self.printed()[-6000:] + self.logs()
        return self.printed()

    def logs(self):
        """The ends of the logs of SLURM."""
        files = sorted((self.folder / "logs/slurm").rglob("*.log"), key=os.path.getmtime)
        return "\n".join(f"== {path}\n{path.read_text()[-3000:]}" for path in files[-3:])

    def jobs(self, rule):
        """What SLURM knows of the jobs of a rule that were sent from here, in their order, once it
        has cleaned up after those that are over."""
        found = self._jobs(rule)
        while any(job["JobState"] == "COMPLETING" for job in found):
            time.sleep(0.1)
            found = self._jobs(rule)
        return found

    def _jobs(self, rule):
        listed = cluster_module.run("scontrol", "--oneliner", "show", "job").splitlines()
        jobs = [dict(re.findall(r"(\w+(?:/\w+)?)=(\S*)", line)) for line in listed]
        mine = [job for job in jobs if job.get("WorkDir") == str(self.folder)]
        named = [
            job for job in mine if re.match(rf"rule_{rule}(_wildcards|$)", job.get("Comment", ""))
        ]
        return sorted(named, key=lambda job: int(job["JobId"]))

    def wait_for(self, file, text, process, seconds=300):
        """Until a file of the project has a text in it, while the process runs."""
        path, end = self.folder / file, time.monotonic() + seconds
        while not (path.exists() and re.search(text, path.read_text())):
            assert process.poll() is None, self.printed()[-6000:] + self.logs()
            assert time.monotonic() < end, f"{file} does not say {text}" + self.printed()[-3000:]
            time.sleep(0.2)

    def kill(self, process):
        """As a crash of the login node would."""
        process.send_signal(signal.SIGKILL)
        process.wait()


def started(**claims):
    lacking = cluster_module.missing(claims.get("accounts", False))
    if lacking:
        pytest.skip(f"no SLURM can be started here, this machine lacks: {', '.join(lacking)}")
    cluster = cluster_module.Cluster(**claims)
    cluster.start()
    return cluster


@pytest.fixture(scope="module")
def cluster():
    """Three nodes with GPUs, without a database of jobs. SIGTERM is followed by SIGKILL after ten
    seconds."""
    cluster = started(kill_wait=10)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def cluster_with_accounts():
    cluster = started(accounts=True)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def tiny():
    """The tiny T1 with more shards, and runs that go on for longer, all of them the same
    training."""
    raw = yaml.safe_load((HERE.parents[1] / "config/experiments/tiny/t1.yaml").read_text())
    raw["corpora"]["python_docs"]["splits"]["train"]["shards"] = 4
    return raw


@pytest.fixture(scope="session")
def network_log(tmp_path_factory):
    """Where jobs note that they tried to reach another machine."""
    return tmp_path_factory.mktemp("network") / "attempts"


@pytest.fixture
def new_small_site(tmp_path):
    """Makes a site with a small workflow, `bin` being looked into before all else for commands."""

    def make():
        folder = tmp_path / "small_workflow"
        load(HERE / "small_workflow.py").write(folder)
        path = f"{tmp_path}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
        site = Site(SimpleNamespace(folder=folder), os.environ | {"PATH": path}, {})
        site.bin = tmp_path / "bin"
        site.bin.mkdir()
        return site

    return make


@pytest.fixture(scope="session")
def new_site(new_checkout, conda, network_log):
    """Makes copies of the project with a configuration of their own."""
    env = conda | {"BLD_TEST_NETWORK_LOG": str(network_log), "BLD_TEST_OWN_HOSTS": "n1 n2 n3"}

    def make(configuration):
        return Site(new_checkout(), env, configuration)

    return make
