"""What tests of several folders share: copies of the project, and a stand-in for conda."""

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

# Tests run two at a time: threads of one that wait must not take a core from the other.
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

TESTS = Path(__file__).parent
PROJECT = TESTS.parent
BIN = Path(sys.executable).parent


# Before xdist reads the marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares costly things runs in one process, one after another: whole chains, the cluster,
    and else a file."""
    for item in items:
        room = item.path.relative_to(TESTS).parts[0]
        shared = {"conda": "chains", "e2e": "chains", "slurm": "cluster"}
        item.add_marker(pytest.mark.xdist_group(shared.get(room, str(item.path))))


class Checkout:
    """A copy of the project's tracked files, as a fresh clone would have them.

    `edits`: what is done to the content of a YAML file of it, before the one commit.
    """

    def __init__(
        self, folder: Path, edits: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]
    ) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in listed.stdout.splitlines():
            if (PROJECT / name).exists() and not name.startswith("tests/"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, folder / name, follow_symlinks=False)
        for name, edit in edits.items():
            edited = edit(yaml.safe_load((folder / name).read_text()))
            (folder / name).write_text(yaml.safe_dump(edited, sort_keys=False))
        author = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
        for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "a clone"]):
            subprocess.run(["git", *author, *command], cwd=folder, check=True)

    def copied_to(self, folder: Path) -> "Checkout":
        """The same with all that was made in it, in a folder of its own that does not exist yet."""
        shutil.copytree(self.folder, folder, symlinks=True)
        other = copy.copy(self)
        other.folder = folder
        return other

    @property
    def env(self) -> dict[str, str]:
        """The environment of a user who has set the project up."""
        return os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}

    def environments(self, env: dict[str, str]) -> dict[str, Path]:
        """Where Snakemake has put the environment of each envs/*.yaml, by the file's name."""
        texts = {path.read_text(): path.stem for path in (self.folder / "envs").glob("*.yaml")}
        made = Path(env["HOME"], ".cache/byte-level-distillation/conda").glob("*.yaml")
        named = {texts.get(path.read_text()): path.with_suffix("") for path in made}
        return {name: folder for name, folder in named.items() if name}

    def run(self, *command: str, env: dict[str, str] | None = None) -> str:
        """What a command prints when it is run here; fails the test if it fails."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=env or self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-8000:]
        return done.stdout

    def snakemake(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """What `snakemake` prints on one machine."""
        return self.run("snakemake", "--profile", "profiles/local", *arguments, env=env)


@pytest.fixture(scope="session")
def new_checkout(tmp_path_factory):
    """Makes copies of the project, some files of them edited."""
    return lambda edits=None: Checkout(tmp_path_factory.mktemp("checkout"), edits or {})


@pytest.fixture(scope="module")
def checkout(new_checkout):
    return new_checkout()


@pytest.fixture(scope="session")
def conda(tmp_path_factory):
    """The environment of processes whose `conda` is a stand-in with a local channel of skeletons.

    It proves that envs/*.yaml parse and solve against such names, and that Snakemake deploys,
    hashes and activates what they describe; not that conda-forge has the versions.
    """
    pytest.importorskip("rattler", reason="py-rattler has no wheel for this platform")
    folder = tmp_path_factory.mktemp("conda")
    channel = folder / "channels/conda-forge"
    subprocess.run([sys.executable, TESTS / "conda/local_channel.py", channel], check=True)
    path = [str(TESTS / "conda/standin/bin"), str(BIN), os.environ["PATH"]]
    return os.environ | {
        "PATH": ":".join(path),
        "CONDA_CHANNEL_ALIAS": (folder / "channels").as_uri(),
        "CONDA_PKGS_DIRS": str(folder / "packages"),
        # Environments lie in the cache of the user.
        "HOME": str(folder),
        # As on the login node of a cluster with GPUs.
        "CONDA_OVERRIDE_CUDA": "12.9",
    }
