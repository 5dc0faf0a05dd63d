"""Makes a working folder from a crate: the code as it ran, and the configuration, ready for one command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bld.files import sha256_of
from bld.publishing.against import summaries
from bld.publishing.bundle import EXECUTABLE, FILES, git, tracked, unpack
from bld.publishing.checks.files import check_files
from bld.publishing.checks.records import read_records
from bld.publishing.findings import Findings, some
from bld.publishing.reading import BUNDLE, CONFIGURATION, METADATA, RESULTS, Crate, open_crate

CODE = ("workflow", "envs", "config", "profiles")
"""Folders that a crate holds as they were, so that what is not in it was not there."""


@dataclass(frozen=True)
class WorkingFolder:
    """A folder made from a crate. `commit`: of its code, if it is known; `edited`: files that are not as
    committed; `wanted`: what the user has to provide; `pythons`: the versions that its steps ran in;
    `summaries`: reports to compare with."""

    folder: Path
    commit: str | None
    edited: list[str]
    wanted: list[str]
    pythons: list[str]
    with_results: bool
    summaries: list[str]


def reproduce(path: Path, folder: Path, with_results: bool = False) -> WorkingFolder:
    """Fill an empty or new `folder` with the code and the configuration of the crate at `path`, and
    its results if they are wanted.

    Raises ValueError if the folder holds anything, or the crate is not whole.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"{folder}: expected a new or empty folder, found something there; name another"
        )
    with open_crate(path) as crate:
        findings = Findings()
        check_files(crate, findings)
        if CONFIGURATION not in crate:
            findings.problems.append(f"{CONFIGURATION}: missing, so there is nothing to run")
        if findings.problems:
            raise ValueError(f"{path} is not whole:\n" + "\n".join(findings.problems))
        wanted = list(_wanted(crate.yaml(CONFIGURATION)))
        folder.mkdir(parents=True, exist_ok=True)
        commit = _lay_down_code(crate, folder)
        wanted += [
            f"{name}: something personal was taken out of it; put your own in"
            for name in crate.files
            if (folder / name).exists() and not _is_as_made(crate, name, folder)
        ]
        if with_results:
            crate.extract([name for name in crate.names if name.split("/")[0] in RESULTS], folder)
        reports = summaries(crate)
        records = read_records(crate, Findings()).values()
        pythons = sorted({record.environment.python for record in records})
    changes = git(folder, "status", "--porcelain").splitlines() if commit else []
    edited = [line[3:] for line in changes if line[3:] != CONFIGURATION]
    return WorkingFolder(folder, commit, edited, wanted, pythons, with_results, reports)


def _lay_down_code(crate: Crate, folder: Path) -> str | None:
    """The repository, then the crate's files over it, less those that were not there; the commit."""
    files = [name for name in crate.names if name not in (METADATA, BUNDLE)]
    files = [name for name in files if name.split("/")[0] not in RESULTS]
    if BUNDLE not in crate:
        crate.extract(files, folder)
        return None
    with TemporaryDirectory() as temporary:
        crate.extract([BUNDLE], Path(temporary))
        commit = unpack(Path(temporary) / BUNDLE, folder)
    committed = {name: mode for name, mode in tracked(folder).items() if mode in FILES}
    for name in committed.keys() - set(files):
        if name.split("/")[0] in CODE:
            (folder / name).unlink()
    crate.extract([name for name in files if not _is_as_made(crate, name, folder)], folder)
    for name in files:
        if committed.get(name) == EXECUTABLE:
            (folder / name).chmod(0o755)
    return commit


def _is_as_made(crate: Crate, name: str, folder: Path) -> bool:
    """Whether a file is in the folder already, as it was before anything was taken out of it."""
    path = folder / name
    return path.is_file() and not path.is_symlink() and sha256_of(path) == crate.digest(name)


def _wanted(configuration: Any) -> Iterator[str]:
    """What the configuration takes from the user's own disk."""
    for section in ("models", "datasets"):
        for name, entry in _entries(configuration, section):
            if entry.get("path"):
                yield f"{section}.{name}.path: {entry['path']}"
    for name, corpus in _entries(configuration, "corpora"):
        source = dict(_entries({name: corpus}, name)).get("source", {})
        if source.get("paths"):
            yield f"corpora.{name}.source.paths: {some(source['paths'])}"


def _entries(configuration: Any, section: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entries of a section; a section that is not as it should be is for the workflow to refuse."""
    found = configuration.get(section) if isinstance(configuration, dict) else None
    for name, entry in found.items() if isinstance(found, dict) else ():
        if isinstance(entry, dict):
            yield name, entry


def instructions(made: WorkingFolder, crate: Path) -> str:
    """What to type next, in a terminal."""
    commit = (
        f"commit {made.commit}" if made.commit else "it has no repository, so no commit is known"
    )
    lines = [f"{made.folder} holds the code of {crate.name}: {commit}"]
    if made.edited:
        lines.append(f"Not as committed: {some(made.edited)} (`git status` lists all)")
    lines += ["It runs what the crate's makers wrote: read it if you do not trust them.", ""]
    if made.wanted:
        lines += [
            f"Provide first, and say where in {CONFIGURATION}:",
            *(f"  {one}" for one in made.wanted),
            "",
        ]
    lines += [
        f"Once, with Python {' or '.join(made.pythons) or '3.11 or newer'}, which it was made with:",
        f"  cd {shlex.quote(str(made.folder))}",
        "  make .venv/workflow.done && source .venv/bin/activate",
    ]
    if made.with_results:
        own = ["results/report/summary.json"]
        lines += [
            "Then, to draw the report from what is here (weights and documents are not, so train in another folder):",
            f"  snakemake report_so_far --cores 1 --configfile {CONFIGURATION}",
        ]
    else:
        own = made.summaries
        lines += [
            "Then, here or on a cluster (its account stands in profiles/slurm/config.yaml):",
            f"  snakemake --profile profiles/local --configfile {CONFIGURATION}",
            f"  snakemake --profile profiles/slurm --configfile {CONFIGURATION}",
        ]
    lines.append("Whether the numbers are the same, times apart:")
    checking = (
        f"PYTHONPATH=workflow python -m bld.stages.verify {shlex.quote(str(crate.resolve()))}"
    )
    return "\n".join([*lines, *(f"  {checking} --against {summary}" for summary in own)])
