"""The git repository of a crate: asked with none of the user's own git settings, since it may come from
anybody, and the same commits are to give the same bytes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

BRANCH = "main"
EXECUTABLE = "100755"
FILES = ("100644", EXECUTABLE)
"""The modes of files in a tree of git; links and submodules have others."""


def unpack(bundle: Path, folder: Path) -> str:
    """Make `folder` a repository with the bundle's history, its commit on the branch main and in the
    work tree, and no remote; the commit.

    Raises ValueError with git's own words if there is no git, or the bundle is not whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet", "--template=", f"--initial-branch={BRANCH}")
    heads = [line.split() for line in git(folder, "bundle", "list-heads", str(bundle)).splitlines()]
    names = {name: commit for commit, name in heads}
    if not names:
        raise ValueError(f"{bundle.name}: expected a commit in it, found none")
    name = "HEAD" if "HEAD" in names else next(iter(names))
    git(folder, "fetch", "--quiet", "--no-tags", str(bundle.resolve()), name)
    git(folder, "reset", "--quiet", "--hard", "FETCH_HEAD")
    (folder / ".git/FETCH_HEAD").unlink()
    return names[name]


def holds(repository: Path, commit: str) -> bool:
    """Whether a repository has a commit."""
    try:
        git(repository, "cat-file", "-e", f"{commit}^{{commit}}")
    except ValueError:
        return False
    return True


def tracked(repository: Path) -> dict[str, str]:
    """The files of the commit that is checked out, each with its mode as git writes it."""
    lines = git(repository, "ls-tree", "-r", "-z", "--full-tree", "HEAD").split("\0")
    entries = (line.split("\t", 1) for line in lines if line)
    return {path: about.split()[0] for about, path in entries}


def git(folder: Path, *arguments: str) -> str:
    """What git prints. Raises ValueError with its own words where it fails."""
    with start(folder, *arguments) as started:
        printed, told = (one.decode(errors="replace") for one in started.communicate())
    if started.returncode:
        raise ValueError(f"git {arguments[0]}: {told.strip() or printed.strip()}")
    return printed


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Git at work, with pipes. Raises ValueError if there is none."""
    alone = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    settings = ["fetch.fsckObjects=true", "core.hooksPath=/dev/null", "safe.directory=*"]
    strict = [*(part for one in settings for part in ("-c", one)), "--no-replace-objects"]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        return subprocess.Popen(
            ["git", "-C", str(folder), *strict, *arguments],
            env=inherited | alone,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError:
        raise ValueError("there is no git on this machine") from None
