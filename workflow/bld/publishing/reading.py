"""Opens a crate that may come from anybody: a zip whose names are judged before anything is read out
of it, and its metadata as a graph of entities."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

from bld.publishing.dangers import dangers
from bld.publishing.terms import ORIGINAL

METADATA = "ro-crate-metadata.json"
CONFIGURATION = "configuration.yaml"
BUNDLE = "code.bundle"
RESULTS = ("results", "resources", "logs")
"""The folders of what steps made; all else is code and configuration."""

MOST_IN_MEMORY = 256 * 2**20
"""Bytes of a file that is read at once."""
MOST_NODES = 1_000_000
"""Values in a YAML file once its aliases are written out."""
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


class NotACrate(ValueError):
    """A file that is not taken as a crate; `reasons` says why, a sentence each."""

    def __init__(self, path: Path, reasons: list[str]) -> None:
        super().__init__("\n".join(f"{path}: {reason}" for reason in reasons))
        self.reasons = reasons


class Unreadable(ValueError):
    """A file of a crate that is missing, damaged, too large, or not what it should be."""


class Crate:
    """An open crate whose names are harmless. `names` are its files, sorted."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.names = sorted(name for name in archive.namelist() if not name.endswith("/"))
        self._names = set(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def size(self, name: str) -> int:
        return self._archive.getinfo(name).file_size

    def read(self, name: str) -> bytes:
        """A file's bytes. Raises Unreadable if it is missing, damaged or too large to be read at once."""
        if name not in self:
            raise Unreadable(f"{name}: not in the crate")
        if self.size(name) > MOST_IN_MEMORY:
            raise Unreadable(
                f"{name}: has {self.size(name)} bytes, expected {MOST_IN_MEMORY} at most"
            )
        try:
            return self._archive.read(name)
        except UNREADABLE as error:
            raise Unreadable(f"{name}: damaged in the zip: {error}") from error

    def json(self, name: str) -> Any:
        """A file's value. Raises Unreadable if it is not JSON or says a key twice."""
        try:
            return json.loads(self.read(name), object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"{name}: expected JSON: {error}") from error

    def yaml(self, name: str) -> Any:
        """A file's value. Raises Unreadable if it is not YAML, or grows beyond measure."""
        try:
            text = self.read(name).decode()
            nodes = _nodes(yaml.compose(text, yaml.SafeLoader), {})
            if nodes > MOST_NODES:
                raise ValueError(f"{nodes} values, expected {MOST_NODES} at most")
            return yaml.safe_load(text)
        except (ValueError, yaml.YAMLError, RecursionError) as error:
            raise Unreadable(f"{name}: expected YAML: {error}") from error

    def sha256(self, name: str) -> str:
        """The SHA-256 of a file's bytes. Raises Unreadable if it is damaged."""
        try:
            with self._archive.open(name) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        except UNREADABLE as error:
            raise Unreadable(f"{name}: damaged in the zip: {error}") from error

    def extract(self, names: Iterable[str], folder: Path) -> None:
        """Write files below `folder`, never through a link; what is in their place is replaced. Raises
        Unreadable if one is damaged, or there is no room for them."""
        names = list(names)
        needed, free = sum(map(self.size, names)), shutil.disk_usage(folder).free
        if needed > free:
            raise Unreadable(
                f"{folder}: {needed} bytes would be unpacked to it, but {free} are free"
            )
        for name in names:
            target = folder / name
            for parent in reversed(target.relative_to(folder).parents[:-1]):
                _make_folder(folder / parent)
            target.unlink(missing_ok=True)
            try:
                with self._archive.open(name) as source, open(target, "xb") as file:
                    shutil.copyfileobj(source, file)
            except UNREADABLE as error:
                raise Unreadable(f"{name}: damaged in the zip: {error}") from error

    @cached_property
    def entities(self) -> dict[str, dict[str, Any]]:
        """The graph of the metadata by id; raises ValueError, saying why, if it is not an RO-Crate's."""
        metadata = self.json(METADATA)
        graph = metadata.get("@graph") if isinstance(metadata, dict) else None
        if not isinstance(graph, list) or not all(
            isinstance(one, dict) and isinstance(one.get("@id"), str) for one in graph
        ):
            raise ValueError(f"{METADATA}: expected a `@graph` of entities with an `@id`")
        ids = Counter(unquote(one["@id"]) for one in graph)
        if twice := [name for name, count in ids.items() if count > 1]:
            raise ValueError(f"{METADATA}: describes {twice[0]!r} twice")
        entities = {one["@id"]: one for one in graph}
        conforms = references(entities.get(METADATA, {}), "conformsTo")
        if not any(one.startswith("https://w3id.org/ro/crate/") for one in conforms):
            raise ValueError(f"{METADATA}: does not say that it is an RO-Crate (`conformsTo`)")
        if "./" not in entities:
            raise ValueError(f"{METADATA}: has no root entity `./`")
        return entities

    @cached_property
    def files(self) -> dict[str, dict[str, Any]]:
        """The entities of files that are in the crate, or should be, by path."""
        files = (one for one in self.entities.values() if is_a(one, "File"))
        return {unquote(one["@id"]): one for one in files if not _is_elsewhere(one["@id"])}

    @cached_property
    def described(self) -> dict[str, dict[str, Any]]:
        """The entities of files that the crate knows by size and digest alone, by path."""
        return {
            path_of(one["@id"]): one
            for one in self.entities.values()
            if one["@id"].startswith("#") and "sha256" in one
        }

    def digest(self, name: str) -> str | None:
        """The SHA-256 that the metadata give a file, included or described, as it was made: before
        anything was taken out of it."""
        entity = self.files.get(name) or self.described.get(name) or {}
        return entity.get(ORIGINAL, entity.get("sha256"))

    def is_redacted(self, name: str) -> bool:
        """Whether something was taken out of a file, so that it is not what was made."""
        return ORIGINAL in self.files.get(name, {})


@contextmanager
def open_crate(path: Path) -> Iterator[Crate]:
    """An open crate. Raises NotACrate, with every reason, before anything is read out of it."""
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise NotACrate(path, ["no such file"]) from None
    except IsADirectoryError:
        raise NotACrate(path, ["a folder, expected a .crate.zip"]) from None
    except (*UNREADABLE, ValueError) as error:
        raise NotACrate(path, [f"not a zip file, or cut off: {error}"]) from error
    with archive:
        if reasons := list(dangers(archive.infolist())):
            raise NotACrate(path, reasons)
        crate = Crate(archive)
        try:
            assert crate.entities
        except ValueError as error:
            raise NotACrate(path, [str(error)]) from error
        yield crate


def is_a(entity: Mapping[str, Any], kind: str) -> bool:
    """Whether an entity is of this type, among others."""
    kinds = entity.get("@type", [])
    return kind in (kinds if isinstance(kinds, list) else [kinds])


def references(entity: Mapping[str, Any], key: str) -> list[str]:
    """The ids that an entity refers to under a key."""
    value = entity.get(key, [])
    listed = value if isinstance(value, list) else [value]
    return [
        one["@id"] for one in listed if isinstance(one, dict) and isinstance(one.get("@id"), str)
    ]


def path_of(identifier: str) -> str:
    """The path in the working folder of an entity of a file, included or only described."""
    return unquote(identifier.removeprefix("#"))


def _is_elsewhere(identifier: str) -> bool:
    return identifier.startswith("#") or bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", identifier))


def _make_folder(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        folder.unlink()
    folder.mkdir(parents=True, exist_ok=True)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _nodes(node: yaml.Node | None, known: dict[int, int]) -> int:
    """The values below a node, those of an alias once for every place where it stands."""
    if id(node) not in known:
        known[id(node)] = 1
        children: Iterable[yaml.Node] = ()
        if isinstance(node, yaml.MappingNode):
            children = (child for pair in node.value for child in pair)
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        known[id(node)] += sum(_nodes(child, known) for child in children)
    return known[id(node)]
