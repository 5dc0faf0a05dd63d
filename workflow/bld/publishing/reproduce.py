"""Makes a working folder from a crate: the code as it ran, and the configuration, ready for one
command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ValidationError

from bld.config.settings import Settings
from bld.files import RECORD, sha256_of
from bld.publishing.chain import read_record
from bld.publishing.git import EXECUTABLE, FILES, git, tracked, unpack
from bld.publishing.graph import BUNDLE, CONFIGURATION, METADATA
from bld.publishing.reading import RESULTS, Crate, open_crate
from bld.publishing.redraw import SUMMARY, summaries
from bld.publishing.verify import file_problems, some

WHOLE = ("workflow", "envs")
"""Folders that a crate holds as they were, so that what is not in it was not there."""


@dataclass(frozen=True)
class WorkingFolder:
    """A folder made from a crate. `commit`: of its code, if it is known; `edited`: files that are
    not as committed; `wanted`: what the user has to provide; `pythons`: the versions that its steps
    ran in; `summaries`: reports to compare with."""

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
        problems = list(file_problems(crate))
        if CONFIGURATION not in crate.files:
            problems.append(f"{CONFIGURATION}: missing, so there is nothing to run")
        if problems:
            raise ValueError(f"{path} is not whole:\n" + "\n".join(problems))
        wanted = list(_wanted(crate.yaml(CONFIGURATION)))
        folder.mkdir(parents=True, exist_ok=True)
        commit = _lay_down_code(crate, folder)
        if with_results:
            crate.extract([name for name in crate.names if name.split("/")[0] in RESULTS], folder)
        records = (read_record(x, crate.json(x)) for x in crate.names if x.endswith(RECORD))
        pythons = sorted({record.environment.python for record in records})
        reports = summaries(crate)
    changes = git(folder, "status", "--porcelain").splitlines() if commit else []
    edited = [line[3:] for line in changes if line[3:] != CONFIGURATION]
    return WorkingFolder(folder, commit, edited, wanted, pythons, with_results, reports)


def _lay_down_code(crate: Crate, folder: Path) -> str | None:
    """The repository, then the crate's files over it, less those that were not there; the
    commit."""
    files = [name for name in crate.names if name not in (METADATA, BUNDLE)]
    files = [name for name in files if name.split("/")[0] not in RESULTS]
    if BUNDLE not in crate.files:
        crate.extract(files, folder)
        return None
    with TemporaryDirectory() as temporary:
        crate.extract([BUNDLE], Path(temporary))
        commit = unpack(Path(temporary) / BUNDLE, folder)
    committed = {name: mode for name, mode in tracked(folder).items() if mode in FILES}
    for name in committed.keys() - set(files):
        if name.split("/")[0] in WHOLE:
            (folder / name).unlink()
    crate.extract([name for name in files if not _is_there(crate, name, folder)], folder)
    for name in files:
        if committed.get(name) == EXECUTABLE:
            (folder / name).chmod(0o755)
    return commit


def _is_there(crate: Crate, name: str, folder: Path) -> bool:
    path = folder / name
    return path.is_file() and not path.is_symlink() and sha256_of(path) == crate.digest(name)


def _wanted(configuration: Any) -> Iterator[str]:
    """What the configuration takes from the user's own disk. What is no configuration has nothing:
    it is for the workflow to refuse."""
    try:
        settings = Settings.model_validate(configuration)
    except ValidationError:
        return
    for section in ("models", "datasets"):
        for name, entry in getattr(settings, section).items():
            if entry.path:
                yield f"{section}.{name}.path: {entry.path}"
    for name, corpus in settings.corpora.items():
        if corpus.source.own_files:
            yield f"corpora.{name}.source: {some(corpus.source.own_files)}"


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
        wanted = [f"  {one}" for one in made.wanted]
        lines += [f"Provide first, and say where in {CONFIGURATION}:", *wanted, ""]
    lines += [
        f"Once, with Python {' or '.join(made.pythons) or '3.11 or newer'}, as it was made with:",
        f"  cd {shlex.quote(str(made.folder))}",
        "  make .venv/workflow.done && source .venv/bin/activate",
    ]
    if made.with_results:
        own = [f"results/report/{SUMMARY}"]
        lines += [
            "Then, to draw the report from what is here (train in another folder: there are no "
            "weights):",
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
