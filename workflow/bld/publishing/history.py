"""The code of a crate: the files that ran, uncommitted changes included, and the history of their git repository."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from bld.publishing.bundle import git, start
from bld.publishing.scrub import Scrubber
from bld.publishing.terms import SNAKEFILE

CODE = [
    *(SNAKEFILE, "Makefile", "README.md", "LICENSE", "CITATION.cff"),
    *("workflow", "envs", "config", "profiles"),
]
# Packed anew and by one thread, so that the bytes depend on the commits alone and not on how they are stored.
PACK = [
    *("pack-objects", "--revs", "--stdout", "--quiet", "--threads=1", "--no-reuse-object"),
    *("--delta-base-offset", "--window=10", "--depth=50", "--compression=9"),
]


def code_files(code: Path) -> list[str]:
    """The files that ran, links aside: those that git does not ignore, or without git all but hidden ones and bytecode."""
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


def bundle(code: Path, scrubber: Scrubber) -> bytes:
    """The history of the commit that is checked out, as `git clone` and `git fetch` read it.

    Raises ValueError, saying why, if there is none, if it is cut off or not the workflow's alone, or if a file or a message
    of it holds a secret or tells whose machine it was. The names of its authors stay, as in every clone.
    """
    if not (commit := commit_of(code)):
        raise ValueError("the workflow's folder is no git repository with a commit of it")
    if git(code, "rev-parse", "--show-prefix").strip():
        raise ValueError("the workflow is a folder of a larger repository, which would come along")
    if git(code, "rev-parse", "--is-shallow-repository").strip() == "true":
        raise ValueError("the repository is a shallow clone; `git fetch --unshallow` completes it")
    _expect_nothing_private(code, scrubber)
    sha256 = "" if len(commit) == 40 else "@object-format=sha256\n"
    header = f"# v{3 if sha256 else 2} git bundle\n{sha256}{commit} HEAD\n\n"
    with start(code, *PACK) as packing:
        packed, _ = packing.communicate(b"HEAD\n")
    if packing.returncode:
        raise ValueError("git cannot pack it; `git fsck` says why")
    return header.encode() + packed


def _expect_nothing_private(code: Path, scrubber: Scrubber) -> None:
    """Read the history, object by object. Raises ValueError, naming file and commit."""
    listed = git(code, "rev-list", "--objects", "HEAD").split("\n")[:-1]
    with start(code, "cat-file", "--batch") as reading:
        assert reading.stdin and reading.stdout
        for name, _, path in (line.partition(" ") for line in listed):
            reading.stdin.write(name.encode() + b"\n")
            reading.stdin.flush()
            _, kind, size = reading.stdout.readline().split()
            content = reading.stdout.read(int(size))
            reading.stdout.readline()
            if found := scrubber.leaks(content):
                is_message = kind == b"commit"
                where = "the message of" if is_message else f"{path} of"
                commit = name if is_message else _first_with(code, name)
                raise ValueError(f"its history holds {found[0]}, in {where} commit {commit[:12]}")


def _first_with(code: Path, name: str) -> str:
    """The commit that brought an object."""
    found = git(code, "log", "-m", "-t", "--root", "--format=%H", f"--find-object={name}", "HEAD")
    return found.split()[-1]


def _walk(code: Path) -> Iterator[str]:
    for top in CODE:
        if (code / top).is_file():
            yield top
        for where, folders, names in os.walk(code / top):
            folders[:] = [x for x in folders if not x.startswith(".") and x != "__pycache__"]
            yield from (Path(where, name).relative_to(code).as_posix() for name in names)
