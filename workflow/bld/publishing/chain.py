"""What an artefact was made from: the walk back from one record, from every input to the record that has it as an output.

A record (`*.record.json`) tells of one job. Equal path and digest link the output of one to the input of another. What lies
under results/ or resources/ was made by the workflow, so each such input needs the record of its making; anything else, and
what a record says to come from outside, is a file of the user's own, where a chain begins.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bld.files import RECORD, read_manifest
from bld.pipeline.code_digest import code_modules, loaded_modules
from bld.publishing.manifests import Manifests
from bld.publishing.terms import MADE


class Action(NamedTuple):
    """A job that was done: the path of its record, relative to the working folder, and what it says."""

    path: str
    record: Mapping[str, Any]

    @property
    def given(self) -> set[str]:
        """The inputs that no step made."""
        outside = set(self.record.get("outside", []))
        return {x for x in self.record["inputs"] if x in outside or not x.startswith(MADE)}


def chain(folder: Path, last: str) -> list[Action]:
    """The record `last` and every record that it rests on, sorted by path.

    Raises ValueError, naming the file and what to do, for an input without a record that can be read, and for one whose
    digest is not that of the output that it was.
    """
    makers: dict[str, Action] = {}
    broken = []
    for path in _records(folder):
        if action := _read(folder, path):
            makers |= dict.fromkeys([path, *action.record["outputs"]], action)
        else:
            broken.append(path)
    what_to_do = f"delete {', '.join(broken)}, no record of a job, and " if broken else ""
    what_to_do += "run `snakemake` again"
    if last not in makers:
        raise ValueError(f"{last}: there is no such record; {what_to_do}")
    manifests = Manifests(lambda x: read_manifest(folder / x) if (folder / x).is_file() else {})
    reached, waiting = {last: makers[last]}, [makers[last]]
    while waiting:
        action = waiting.pop()
        given = action.given
        for path, digest in action.record["inputs"].items():
            if path in given:
                continue
            source = path if path in makers else manifests.naming(path)
            if source not in makers:
                raise ValueError(
                    f"{path}: no record tells how it was made, but {action.path} names it as an input; {what_to_do}"
                )
            maker = makers[source]
            output = maker.record["outputs"].get(path) or manifests.named(source)[path]
            if (made := output["sha256"]) != digest:
                raise ValueError(
                    f"{path}: {action.path} was made from another file (sha256 {digest[:12]}...) than "
                    f"{maker.path} tells of (sha256 {made[:12]}...); run `snakemake` again, and if it finds nothing "
                    f"to do, delete {action.path} first"
                )
            if maker.path not in reached:
                reached[maker.path] = maker
                waiting.append(maker)
    return [reached[path] for path in sorted(reached)]


def expect_code(actions: Sequence[Action], package: Path) -> None:
    """Raises ValueError, naming record and modules, where a job ran other code than the package `bld` in this
    folder holds: it was edited while the job waited."""
    for action in actions:
        step, stage = action.record["step"], f"bld.stages.{action.record['stage']}"
        ran = step["code"]["modules"]
        here = code_modules(stage, package, loaded_modules(step["settings"], package))
        if others := [x for x in sorted({*ran, *here}) if ran.get(x) != here.get(x)]:
            raise ValueError(
                f"{action.path}: the job ran another version of {', '.join(others)} than there is here; run `snakemake` "
                f"again, and if it finds nothing to do, delete {action.path} first"
            )


def _records(folder: Path) -> Iterator[str]:
    for top in MADE:
        for where, folders, names in os.walk(folder / top):
            folders.sort()
            for name in sorted(names):
                if name.endswith(RECORD):
                    yield Path(where, name).relative_to(folder).as_posix()


def _read(folder: Path, path: str) -> Action | None:
    """The action of a record; none if it is not one."""
    try:
        record = json.loads((folder / path).read_text(encoding="utf-8"))
        is_one = isinstance(record["inputs"], dict) and isinstance(record["outputs"], dict)
    except (ValueError, LookupError, TypeError):
        return None
    return Action(path, record) if is_one else None
