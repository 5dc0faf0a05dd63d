"""Opens a crate that may come from anybody: nothing is unpacked of a zip whose names could do
harm."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import yaml

from bld.publishing.graph import METADATA

RESULTS = ("results", "resources", "logs")
"""The folders of what steps made; all else is code and configuration."""
MAX_TEXT_BYTES = 2**28
MAX_RATIO = 400
"""Times that a file of a mebibyte or more may shrink: logs shrink some hundred times, bombs a
thousand."""
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


class Crate:
    """An open crate whose names are harmless. `names` are its files, sorted; `files` and
    `described` are the entities of its metadata, by path, of included files and of those known by
    digest alone."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.names = sorted(name for name in archive.namelist() if not name.endswith("/"))
        entities = self._entities()
        self.files = {
            unquote(name): one
            for name, one in entities.items()
            if "File" in _listed(one.get("@type")) and not re.match(r"#|[A-Za-z][\w+.-]+:", name)
        }
        self.described = {
            unquote(name[1:]): one
            for name, one in entities.items()
            if name.startswith("#") and "sha256" in one
        }

    def size(self, name: str) -> int:
        """A file's size in bytes, unpacked."""
        return self._archive.getinfo(name).file_size

    def read(self, name: str) -> bytes:
        """A file's bytes. Raises ValueError if it is missing, damaged, or too large to be read at
        once."""
        if name not in self.names:
            raise ValueError(f"{name}: not in the crate")
        if self.size(name) > MAX_TEXT_BYTES:
            raise ValueError(
                f"{name}: has {self.size(name)} bytes, expected {MAX_TEXT_BYTES} at most"
            )
        try:
            return self._archive.read(name)
        except DAMAGED as error:
            raise ValueError(f"{name}: damaged in the zip: {error}") from error

    def json(self, name: str) -> Any:
        """A file's value. Raises ValueError if it is not JSON."""
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{name}: expected JSON: {error}") from error

    def yaml(self, name: str) -> Any:
        """A file's value. Raises ValueError if it is not YAML."""
        try:
            return yaml.safe_load(self.read(name))
        except (ValueError, yaml.YAMLError, RecursionError) as error:
            raise ValueError(f"{name}: expected YAML: {error}") from error

    def sha256(self, name: str) -> str:
        """The SHA-256 of a file's bytes. Raises ValueError if it is damaged."""
        try:
            with self._archive.open(name) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        except DAMAGED as error:
            raise ValueError(f"{name}: damaged in the zip: {error}") from error

    def digest(self, name: str) -> str | None:
        """The SHA-256 that the metadata give a file, included or described."""
        return (self.files.get(name) or self.described.get(name) or {}).get("sha256")

    def extract(self, names: Iterable[str], folder: Path) -> None:
        """Write files below `folder`, never through a link; what is in their place is replaced."""
        for name in names:
            target = folder / name
            for parent in [folder / x for x in reversed(PurePosixPath(name).parents)]:
                if parent.is_symlink() or parent.is_file():
                    parent.unlink()
                parent.mkdir(exist_ok=True)
            target.unlink(missing_ok=True)
            try:
                with self._archive.open(name) as source, open(target, "xb") as file:
                    shutil.copyfileobj(source, file)
            except DAMAGED as error:
                raise ValueError(f"{name}: damaged in the zip: {error}") from error

    def _entities(self) -> dict[str, dict[str, Any]]:
        try:
            graph = self.json(METADATA)["@graph"]
            entities: dict[str, dict[str, Any]] = {one["@id"]: one for one in graph}
            conforms = [one["@id"] for one in _listed(entities[METADATA]["conformsTo"])]
        except (LookupError, TypeError) as error:
            raise ValueError(f"{METADATA}: not the metadata of an RO-Crate: {error!r}") from error
        if not any(one.startswith("https://w3id.org/ro/crate/") for one in conforms):
            raise ValueError(f"{METADATA}: does not say that it is an RO-Crate (`conformsTo`)")
        return entities


@contextmanager
def open_crate(path: Path) -> Iterator[Crate]:
    """An open crate. Raises ValueError, saying why, if it is none or could do harm."""
    try:
        archive = zipfile.ZipFile(path)
    except (*DAMAGED, ValueError) as error:
        raise ValueError(f"{path}: not a zip file that can be read: {error}") from error
    with archive:
        if dangers := list(_dangers(archive.infolist())):
            raise ValueError("\n".join(f"{path}: {danger}" for danger in dangers))
        yield Crate(archive)


def _dangers(entries: Sequence[zipfile.ZipInfo]) -> Iterator[str]:
    """Why these entries are better not unpacked, a sentence each."""
    seen: set[str] = set()
    for entry in entries:
        name, mode = entry.orig_filename, entry.external_attr >> 16
        parts = name.removesuffix("/").split("/")
        if {"", ".", ".."} & {*parts} or re.match(
            r"[A-Za-z]:|.*[\\\x00-\x1f\x7f]", name, re.DOTALL
        ):
            yield f"{name!r} is not the name of a file inside the crate"
        if ".git" in (part.casefold() for part in parts):
            yield f"{name!r} would change a git repository"
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            yield f"{name!r} is a link or another special file"
        if entry.file_size >= 2**20 and entry.file_size > MAX_RATIO * entry.compress_size:
            yield f"{name!r} unpacks from {entry.compress_size} to {entry.file_size} bytes"
        if name.casefold() in seen:
            yield f"{name!r} is there twice, for systems that fold case at least"
        seen.add(name.casefold())


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
