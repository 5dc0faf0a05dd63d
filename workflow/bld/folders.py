"""Folders that are whole or not there: models, students, heads, fetched data.

A folder is filled under another name, gets a manifest.json with the size and digest of every file,
and appears by rename. Rules name the manifest; steps that read the folder check it first.
"""

from __future__ import annotations

import os
import shutil
from argparse import ArgumentTypeError
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bld.files import MANIFEST, RECORD, appearing, read_manifest, sha256_of, write_json

# Endings of files that describe others and are no part of a model or a data set.
RECORDS = (RECORD, ".record.attempts")


@contextmanager
def new_folder(target: Path, about: Mapping[str, Any]) -> Iterator[Path]:
    """A folder to fill, which replaces `target` when the block ends without an error; `about` goes
    into its manifest, with what the block has added to it."""
    with appearing(target) as partial:
        partial.mkdir()
        yield partial
        files = {}
        for path in sorted(p for p in partial.rglob("*") if p.is_file()):
            if not path.is_symlink():
                # safetensors writes 0600, which a colleague on a shared disk cannot read.
                path.chmod(0o644)
            files[str(path.relative_to(partial))] = {
                "bytes": path.stat().st_size,
                "sha256": sha256_of(path),
            }
        write_json(partial / MANIFEST, {"files": files, **about})


class IncompleteFolderError(ArgumentTypeError, ValueError):
    """A folder that is not whole. Argparse would not show the text of a plain ValueError."""


def whole_folder(manifest: str | Path) -> Path:
    """The folder of this manifest; raises ValueError if a file is missing or has another size than
    the manifest says."""
    folder = Path(manifest).parent
    try:
        files = read_manifest(manifest).get("files")
    except ValueError as error:
        raise IncompleteFolderError(str(error)) from error
    if files is None:
        raise IncompleteFolderError(
            f"{manifest}: expected the manifest of a folder, found no `files` in it"
        )
    for name, expected in files.items():
        path = folder / name
        found = path.stat().st_size if path.exists() else None
        if found != expected["bytes"]:
            raise IncompleteFolderError(
                f"{path}: expected {expected['bytes']} bytes as {manifest} says, found "
                f"{'no such file' if found is None else f'{found} bytes'}; delete the folder and "
                "make it again"
            )
    return folder


def hard_link(source: Path, target: Path) -> None:
    """Make `target` the file `source`, or a folder of the files of the folder `source`, without a
    copy; it appears by rename.

    Raises OSError where the file system has no hard links.
    """
    with appearing(target, f".{os.getpid()}") as partial:
        if source.is_dir():
            shutil.copytree(source, partial, copy_function=os.link, symlinks=True)
        else:
            os.link(source, partial)


def link_files(source: Path, target: Path) -> None:
    """Fill `target` with links to the files of `source`, however deep.

    Raises ValueError if there are none.
    """
    found = (p for p in sorted(source.rglob("*")) if p.is_file() and p.name != MANIFEST)
    files = [p for p in found if not p.name.endswith(RECORDS)]
    if not files:
        raise ValueError(f"{source}: no files there; expected a folder with a model or a data set")
    for path in files:
        link = target / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(_link_target(path.resolve(), link))


def _link_target(path: Path, link: Path) -> Path:
    """Relative inside the working folder, so that it can be moved as a whole; absolute outside."""
    if path.is_relative_to(Path.cwd()):
        return Path(os.path.relpath(path, link.parent.resolve()))
    return path
