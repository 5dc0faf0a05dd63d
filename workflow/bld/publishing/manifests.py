"""Manifests: what stands for the files of a folder, or for the shards of documents and caches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from bld.files import MANIFEST


def parts(manifest: str, content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The files that a manifest stands for, by path: each with `sha256` and `bytes`, if they are told.

    Raises ValueError, naming the manifest, if its `content` is not one's.
    """
    folder = PurePosixPath(manifest).parent
    try:
        told = {folder / name: about for name, about in content.get("files", {}).items()}
        told |= {folder / f"{one['name']}.parquet": one for one in content.get("shards", [])}
        return {
            str(path): {key: about[key] for key in ("sha256", "bytes") if key in about}
            for path, about in told.items()
        }
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"{manifest}: expected a manifest, found something else") from error


class Manifests:
    """Which files manifests name. `read` gives the content of the manifest at a path, an empty one where
    there is none."""

    def __init__(self, read: Callable[[str], Mapping[str, Any]]) -> None:
        self._read = read
        self._known: dict[str, dict[str, dict[str, Any]]] = {}

    def naming(self, path: str) -> str | None:
        """The manifest that names a file, the nearest above it."""
        above = (str(folder / MANIFEST) for folder in PurePosixPath(path).parents)
        return next((manifest for manifest in above if path in self.named(manifest)), None)

    def named(self, manifest: str) -> dict[str, dict[str, Any]]:
        """The files that a manifest names, as `parts` tells them."""
        if manifest not in self._known:
            self._known[manifest] = parts(manifest, self._read(manifest))
        return self._known[manifest]
