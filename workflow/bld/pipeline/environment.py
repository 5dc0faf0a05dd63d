"""What a record says of the software: the project's version, Python, and the packages that were
imported."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[3]
CODE = ("Snakefile", "workflow", "envs", "config", "profiles")
GIT_SECONDS = 20
LARGE_BYTES = 1 << 20


def environment() -> dict[str, Any]:
    """Python and what this process has imported so far, by distribution; the digest of the conda
    environment stands for what its pin file holds."""
    torch = sys.modules.get("torch")
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": f"{platform.system()}-{platform.release()}-{platform.machine()}",
        "packages": imported_packages(),
        "conda": conda_digest(),
        "torch": torch and str(torch.__version__),
        "cuda": torch and torch.version.cuda,
    }


def imported_packages() -> dict[str, str]:
    """The version of every installed distribution of which a module is imported."""
    imported = {name.partition(".")[0] for name in list(sys.modules)}
    owners = packages_distributions()
    names = {owner for module in imported for owner in owners.get(module, [])}
    return {name: version(name) for name in sorted(names)}


def conda_digest() -> str | None:
    """SHA-256 over the names of the packages of the conda environment, which hold version and
    build."""
    prefix = os.environ.get("CONDA_PREFIX")
    names = sorted(path.name for path in Path(prefix).glob("conda-meta/*.json")) if prefix else []
    return hashlib.sha256("\n".join(names).encode()).hexdigest() if names else None


def project_version(project: Path = PROJECT) -> dict[str, str | None]:
    """The commit of the project and a digest of what differs from it; null where git does not
    know."""
    commit = _git(project, "rev-parse", "HEAD")
    # A folder that lies in somebody else's repository has no commit of its own.
    if commit is None or _git(project, "cat-file", "-e", "HEAD:./Snakefile") is None:
        return {"commit": None, "uncommitted": None}
    return {"commit": commit.decode().strip(), "uncommitted": _uncommitted(project)}


def _uncommitted(project: Path) -> str | None:
    """SHA-256 over the changes of the code and over the names and digests of code that was never
    committed; of large files the size stands for the digest."""
    changes = _git(project, "diff", "HEAD", "--binary", "--no-ext-diff", "--relative", "--", *CODE)
    names = _git(project, "ls-files", "--others", "--exclude-standard", "-z", "--", *CODE)
    if not (changes or names):
        return None
    digest = hashlib.sha256(changes or b"")
    for name in sorted((names or b"").split(b"\0")[:-1]):
        digest.update(name + b"\0" + _content(project / os.fsdecode(name)) + b"\0")
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGE_BYTES:
            return str(path.stat().st_size).encode()
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:  # gone since, or a link to nothing
        return b""


def _git(project: Path, *command: str) -> bytes | None:
    """What git prints; null if it fails, is not there or takes too long. It takes no lock, since
    other jobs ask at the same time."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(project), *command],
            capture_output=True,
            timeout=GIT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
