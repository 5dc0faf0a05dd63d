"""Files that the whole package writes the same way: whole or not there, text, JSON, digests,
manifests."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
RECORD = ".record.json"
"""How the names of run records end."""


def shard_name(index: int, count: int) -> str:
    """The name of a shard without its suffix: "00000-of-00008"."""
    return f"{index:05d}-of-{count:05d}"


@contextmanager
def appearing(path: Path | str, writer: str = "") -> Iterator[Path]:
    """A path beside `path` at which to make a file or a folder.

    When the block ends without an error it is renamed to `path`, in place of what stood there;
    after an error nothing is left of it. Where several processes may write the same `path` at once,
    `writer` names each of them.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}{writer}.partial")
    _remove(partial)
    try:
        yield partial
        if partial.is_dir():
            _remove(path)
        os.replace(partial, path)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if not path.is_dir():
        path.unlink(missing_ok=True)


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` with sorted keys, indented, ending in a newline; the file appears by rename.

    Raises ValueError for NaN and infinity, which JSON cannot hold: write null instead,
    see `finite`.
    """
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def finite(value: float) -> float | None:
    """The number as JSON can hold it: none for NaN and infinity."""
    return float(value) if math.isfinite(value) else None


def write_text(path: Path | str, text: str) -> None:
    """Write a file, in UTF-8, that appears by rename."""
    with appearing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def sha256_of(path: Path | str) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(paths: Iterable[Path]) -> str:
    """One digest for several files: of one its SHA-256, of more that of their digests in order."""
    digests = [sha256_of(path) for path in paths]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def read_manifest(path: Path | str) -> Mapping[str, Any]:
    """Read a manifest.json; raises ValueError, naming the file, if it is missing or not a JSON
    object.
    """
    try:
        manifest = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"{path}: no such manifest, so the step that makes this folder has not finished; "
            "run it first"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: a manifest must be JSON, but {error}; delete the folder and make it again"
        ) from error
    if not isinstance(manifest, dict):
        raise ValueError(
            f"{path}: a manifest must be a JSON object, found {type(manifest).__name__}; "
            "delete the folder and make it again"
        )
    return manifest
