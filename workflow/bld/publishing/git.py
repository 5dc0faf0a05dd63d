"""The code of a crate: its files, uncommitted changes included, and the history of their
repository.

Git is asked with none of the user's own settings, since a repository may come from anybody and the
same commits have to give the same bytes.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bld.publishing.graph import SNAKEFILE
from bld.publishing.leaks import Detector

CODE = [
    *(SNAKEFILE, "Makefile", "README.md", "LICENSE", "CITATION.cff"),
    *("workflow", "envs", "config", "profiles"),
]
EXECUTABLE = "100755"
FILES = ("100644", EXECUTABLE)
"""The modes of files in a tree of git; links and submodules have others."""
# Packed anew and by one thread, so that the bytes depend on the commits alone.
PACK = [
    *("pack-objects", "--revs", "--stdout", "--quiet", "--threads=1", "--no-reuse-object"),
    *("--delta-base-offset", "--window=10", "--depth=50", "--compression=9"),
]
HISTORY = [
    *("log", "--patch", "--reverse", "-m", "--root", "--unified=0", "--text", "--no-renames"),
    *("--no-ext-diff", "--no-textconv", "--no-color", "--format=commit %H%n%B", "HEAD"),
]


def code_files(code: Path) -> list[str]:
    """The files that ran, links aside: those that git does not ignore, or without git all but
    hidden ones and bytecode."""
    listed = ["ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *CODE]
    try:
        names = git(code, *listed).split("\0")[:-1]
    except ValueError:
        names = []
    # Git lists nothing of a folder that the repository around it ignores.
    found = sorted(set(names if SNAKEFILE in names else _walk(code)))
    return [name for name in found if (code / name).is_file() and not (code / name).is_symlink()]


def commit_of(code: Path) -> str | None:
    """The commit that is checked out; none without git, and where no commit holds the Snakefile."""
    try:
        git(code, "cat-file", "-e", f"HEAD:./{SNAKEFILE}")
        return git(code, "rev-parse", "HEAD").strip()
    except ValueError:
        return None


def bundle(code: Path, detector: Detector) -> bytes:
    """The history of the commit that is checked out, as `git clone` and `git fetch` read it.

    Raises ValueError, saying why, if there is none, if it is cut off or not the workflow's alone,
    or if a version of a file or a message holds a secret or a path of this machine. Its authors
    stay named.
    """
    if not (commit := commit_of(code)):
        raise ValueError("the workflow's folder is no git repository with a commit of it")
    if git(code, "rev-parse", "--show-prefix").strip():
        raise ValueError("the workflow is a folder of a larger repository, which would come along")
    if git(code, "rev-parse", "--is-shallow-repository").strip() == "true":
        raise ValueError("the repository is a shallow clone; `git fetch --unshallow` completes it")
    _expect_nothing_private(code, detector)
    sha256 = "" if len(commit) == 40 else "@object-format=sha256\n"
    header = f"# v{3 if sha256 else 2} git bundle\n{sha256}{commit} HEAD\n\n"
    return header.encode() + _output(code, *PACK, given=b"HEAD\n")


def unpack(bundle: Path, folder: Path) -> str:
    """Make `folder` a repository with the bundle's history, its commit on the branch main and in
    the work tree, and no remote; the commit.

    Raises ValueError with git's own words if there is no git, or the bundle is not whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet", "--template=", "--initial-branch=main")
    heads = git(folder, "bundle", "list-heads", str(bundle)).split()
    if not heads:
        raise ValueError(f"{bundle.name}: expected a commit in it, found none")
    git(folder, "fetch", "--quiet", "--no-tags", str(bundle.resolve()), heads[1])
    git(folder, "reset", "--quiet", "--hard", "FETCH_HEAD")
    (folder / ".git/FETCH_HEAD").unlink()
    return heads[0]


def tracked(repository: Path) -> dict[str, str]:
    """The files of the commit that is checked out, each with its mode as git writes it."""
    lines = git(repository, "ls-tree", "-r", "-z", "--full-tree", "HEAD").split("\0")
    entries = (line.split("\t", 1) for line in lines if line)
    return {path: about.split()[0] for about, path in entries}


def git(folder: Path, *arguments: str) -> str:
    """What git prints. Raises ValueError with its own words where it fails."""
    return _output(folder, *arguments).decode(errors="replace")


def _output(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    alone = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    settings = ["fetch.fsckObjects=true", "core.hooksPath=/dev/null", "safe.directory=*"]
    strict = [*(part for one in settings for part in ("-c", one)), "--no-replace-objects"]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "-C", str(folder), *strict, *arguments]
    try:
        done = subprocess.run(command, env=inherited | alone, input=given, capture_output=True)
    except FileNotFoundError:
        raise ValueError("there is no git on this machine") from None
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")
        raise ValueError(f"git {arguments[0]}: {words}")
    return done.stdout


def _expect_nothing_private(code: Path, detector: Detector) -> None:
    """Read every message and every added line. Raises ValueError, naming the first commit and
    file."""
    history = git(code, *HISTORY)
    if not (leak := detector.leak(history, names=False)):
        return
    before = "\n".join(history.split("\n")[: leak.line])
    *_, commit = re.finditer(r"^commit ([0-9a-f]{40,64})$", before, re.MULTILINE)
    files = re.findall(r"^\+\+\+ b/(.*)$", before[commit.end() :], re.MULTILINE)
    where = f"{files[-1]} of" if files else "the message of"
    raise ValueError(f"its history holds {leak.kind}, in {where} commit {commit[1][:12]}")


def _walk(code: Path) -> Iterator[str]:
    for top in CODE:
        if (code / top).is_file():
            yield top
        for where, folders, names in os.walk(code / top):
            folders[:] = [x for x in folders if not x.startswith(".") and x != "__pycache__"]
            yield from (Path(where, name).relative_to(code).as_posix() for name in names)
