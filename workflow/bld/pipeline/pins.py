"""Revisions that are names: `main`, or another branch or a tag of a repository of the hub, stands
for the commit that config/lock.yaml has for it.

`snakemake fetch` looks up what is not there yet; `--config update=true` looks up all names anew.
The commit takes the place of the name before any step is made of the configuration, so steps,
records and archives know commits alone.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from filelock import FileLock
from snakemake.exceptions import WorkflowError
from snakemake_interface_executor_plugins.settings import ExecMode

from bld.config.checks import ConfigError, read_settings
from bld.config.evaluation import kind_of
from bld.config.settings import Settings
from bld.files import write_text
from bld.pipeline.step import parse_step

if TYPE_CHECKING:
    from snakemake.workflow import Workflow

LOCK = Path("config/lock.yaml")
HEAD = """\
# The commits that the names of revisions stand for: kind, repository, name, commit. It belongs to
# the configuration: keep both together. `snakemake fetch` adds what is missing, `snakemake fetch
# --config update=true` looks all names of the configuration up anew.
"""
UPDATE = "update"
COMMIT, UNKNOWN = re.compile("[0-9a-f]{40}"), "0" * 40
NAMES_SHOWN = 3


class Pin(NamedTuple):
    """A revision of a repository of the hub, and where it stands in the configuration."""

    place: tuple[str, ...]
    kind: str
    repository: str
    revision: str

    @property
    def is_commit(self) -> bool:
        """Whether it names one state of the repository for ever."""
        return COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        return f"{self.kind} {self.repository}, {self.revision}"


Commits = dict[str, dict[str, dict[str, str]]]
"""By kind, repository and name, as the lock file has them."""


def pins(settings: Settings) -> Iterator[Pin]:
    """All revisions that a configuration names."""
    for section, kind in (("datasets", "dataset"), ("models", "model")):
        for name, entry in getattr(settings, section).items():
            if entry.hub:
                yield Pin((section, name, "revision"), kind, entry.hub, entry.revision)
    for name, benchmark in settings.benchmarks.items():
        for repository, revision in benchmark.data.items():
            place = ("benchmarks", name, "data", repository)
            yield Pin(place, kind_of(repository), repository, revision)


def read_pinned(config: dict[str, Any], workflow: Workflow) -> Settings:
    """The validated settings of Snakemake's configuration, in both of which commits have taken the
    place of names as far as the lock file has them.

    If `fetch` is what was asked for, names are looked up in the hub first. Raises ConfigError.
    """
    update = config.pop(UPDATE, False)
    settings = read_settings(config)
    named = [pin for pin in pins(settings) if not pin.is_commit]
    is_first = workflow.exec_mode == ExecMode.DEFAULT
    # Snakemake itself knows its targets later than its rules.
    fetches = is_first and "fetch" in sys.argv[1:]
    if update and is_first and not fetches:
        raise ConfigError("`update` renews config/lock.yaml: run `snakemake fetch` with it")
    if not named:
        return settings
    commits = read_lock(LOCK)
    if fetches and not workflow.output_settings.dryrun:
        commits = look_up(named, LOCK, update)
    for pin in named:
        if commit := _known(commits, pin):
            _put(config, pin.place, commit)
    return read_settings(config)


def read_lock(path: Path) -> Commits:
    """What a lock file holds; raises ConfigError if it is not one."""
    try:
        commits = yaml.safe_load(path.read_text()) if path.exists() else {}
        entries = [
            commit
            for repositories in (commits or {}).values()
            for names in repositories.values()
            for commit in names.values()
        ]
        is_whole = all(COMMIT.fullmatch(commit) for commit in entries)
    except (yaml.YAMLError, AttributeError, TypeError):
        is_whole = False
    if not is_whole:
        raise ConfigError(
            f"{path}: expected commits of 40 hexadecimal digits by kind, repository and name, as "
            "`snakemake fetch` writes them; restore the file, or delete it and fetch again"
        )
    return commits or {}


def look_up(named: Iterable[Pin], path: Path, update: bool = False) -> Commits:
    """Add to a lock file the commits that names stand for in the hub; with `update` also of those
    that it has. Returns what it holds then, and prints what has changed.

    Raises ConfigError, and leaves the file as it was, if the hub does not say all of them.
    """
    os.environ["HF_HUB_OFFLINE"] = "0"  # read when the client is imported
    from bld.hub import commit_of

    asked = {pin[1:]: pin for pin in named}.values()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two may fetch at once, each for a configuration of its own.
    with FileLock(path.with_name(f".{path.name}.lock")):
        commits, problems, changes = read_lock(path), [], []
        for pin in asked:
            before = _known(commits, pin)
            if before and not update:
                continue
            try:
                commit = commit_of(pin.repository, pin.revision, pin.kind)
            except ValueError as error:
                problems.append(f"{'.'.join(pin.place)}: {error}")
                continue
            if commit != before:
                _put(commits, pin[1:], commit)
                was = f" (was {before})" if before else ""
                changes.append(f"{path}: {pin} is {commit}{was}")
        if problems:
            raise ConfigError("\n".join(problems))
        if changes:
            write_text(path, HEAD + yaml.safe_dump(commits, width=float("inf")))
    print(*changes or [f"{path}: nothing has changed"], sep="\n", flush=True)
    return commits


def refuse_names(jobs: Iterable[Any]) -> None:
    """Raises WorkflowError if some of Snakemake's jobs would fetch what is no commit: a name, or
    zeros that stand for one."""
    unknown = set()
    for job in jobs:
        if job.rule.name.startswith("fetch_"):
            settings = parse_step(job.params.step).settings
            asked = settings.get("data", {settings.get("hub"): settings.get("revision")})
            unknown |= {f"{x} ({y})" for x, y in asked.items() if not COMMIT.fullmatch(y)}
            if zeros := [x for x, y in asked.items() if y == UNKNOWN]:
                raise WorkflowError(
                    f"{', '.join(zeros)}: 40 zeros are no commit; write `revision: main`, another "
                    "branch or a tag, and run `snakemake fetch`"
                )
    if unknown:
        first, rest = sorted(unknown)[:NAMES_SHOWN], len(unknown) - NAMES_SHOWN
        more = f" and {rest} more" if rest > 0 else ""
        raise WorkflowError(
            "Run `snakemake fetch` where there is internet, which is a login node as a rule: "
            f"{LOCK} has no commit for {', '.join(first)}{more}"
        )


def _known(commits: Commits, pin: Pin) -> str | None:
    return commits.get(pin.kind, {}).get(pin.repository, {}).get(pin.revision)


def _put(tree: dict[str, Any], place: tuple[str, ...], value: str) -> None:
    *above, last = place
    for key in above:
        tree = tree.setdefault(key, {})
    tree[last] = value
