"""What a result was made from: from one record back to everything that it rests on.

A record describes one job; equal path and digest link the output of one to the input of another.
What lies under results/ or resources/ was made by the workflow, so each such input needs the record
of its making. All else, and what a record says to come from outside, is the user's own: a chain
begins there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from pydantic import ValidationError

from bld.files import MANIFEST
from bld.pipeline.record import Record

MADE = ("results/", "resources/")
"""Where steps put what they make."""


class Action(NamedTuple):
    """A job that was done: the path of its record, from the working folder, and what it says."""

    path: str
    record: Record

    @property
    def given(self) -> set[str]:
        """The inputs that no step made."""
        outside = set(self.record.outside)
        return {x for x in self.record.inputs if x in outside or not x.startswith(MADE)}


def read_record(path: str, content: Any) -> Record:
    """The record in what was read as JSON. Raises ValueError, naming path and field, if it is
    none."""
    try:
        return Record.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path}: not a run record: {where}: {first['msg']}") from error


class Manifests:
    """Which files manifests stand for. `read` gives the content of the manifest at a path, an empty
    one where there is none."""

    def __init__(self, read: Callable[[str], Mapping[str, Any]]) -> None:
        self._read = read
        self._files: dict[str, dict[str, dict[str, Any]]] = {}

    def naming(self, path: str) -> str | None:
        """The manifest that names a file, the nearest above it."""
        above = (str(folder / MANIFEST) for folder in PurePosixPath(path).parents)
        return next((manifest for manifest in above if path in self.files(manifest)), None)

    def files(self, manifest: str) -> dict[str, dict[str, Any]]:
        """The files that a manifest stands for by path, each with `sha256` and `bytes` if it has
        them.

        Raises ValueError, naming the manifest, if its content is not one's.
        """
        if manifest not in self._files:
            self._files[manifest] = _files(manifest, self._read(manifest))
        return self._files[manifest]


def chain(records: Mapping[str, Record], manifests: Manifests, last: str) -> list[Action]:
    """The record `last` and every record that it rests on, sorted by path.

    Raises ValueError, naming file and records, for an input without a record, and for one whose
    digest is not that of the output that it was.
    """
    makers = {path: Action(path, record) for path, record in records.items()}
    makers |= {path: makers[x] for x, record in records.items() for path in record.outputs}
    if last not in records:
        raise ValueError(f"{last}: there is no such record")
    reached, waiting = {last}, [makers[last]]
    while waiting:
        action = waiting.pop()
        for path in sorted(action.record.inputs.keys() - action.given):
            source = path if path in makers else manifests.naming(path)
            if source not in makers:
                raise ValueError(
                    f"{path}: {action.path} read it, and no record tells how it was made"
                )
            maker = makers[source]
            _expect_same(path, action, maker, manifests)
            if maker.path not in reached:
                reached.add(maker.path)
                waiting.append(maker)
    return [makers[path] for path in sorted(reached)]


def _expect_same(path: str, action: Action, maker: Action, manifests: Manifests) -> None:
    if path == maker.path:  # no record holds its own digest
        return
    if path in maker.record.outputs:
        made = maker.record.outputs[path].sha256
    else:
        made = manifests.files(str(manifests.naming(path)))[path].get("sha256", "unknown")
    if made != (read := action.record.inputs[path]):
        raise ValueError(
            f"{path}: {action.path} was made from another file (sha256 {read[:12]}...) than "
            f"{maker.path} tells of (sha256 {made[:12]}...)"
        )


def _files(manifest: str, content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    folder = PurePosixPath(manifest).parent
    try:
        named = {folder / name: about for name, about in content.get("files", {}).items()}
        named |= {folder / f"{x['name']}.parquet": x for x in content.get("shards", [])}
        return {
            str(path): {key: about[key] for key in ("sha256", "bytes") if key in about}
            for path, about in named.items()
        }
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"{manifest}: expected a manifest, found something else") from error
