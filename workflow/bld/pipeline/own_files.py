"""Files of the user's own that steps read. They may be large, so a date alone makes nothing
stale."""

from __future__ import annotations

import glob
import os

from bld.pipeline.record import unchanged


def linked(kind: str, name: str, folder: str | None) -> list[str]:
    """The files of a model's or data set's folder."""
    return external(_files_under(str(folder)), f"resources/{kind}/{name}/manifest.record.json")


def external(paths: list[str], record: str) -> list[str]:
    """Files as inputs of the step that leaves this record."""
    from snakemake.io import ancient  # stages, which run without Snakemake, import this module

    known = unchanged(paths, record)
    return [ancient(path) if path in known else path for path in paths]


def matching(pattern: str) -> list[str]:
    """The files of a pattern or folder."""
    if os.path.isdir(pattern):
        return _files_under(pattern)
    return sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))


def _files_under(folder: str) -> list[str]:
    return sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
