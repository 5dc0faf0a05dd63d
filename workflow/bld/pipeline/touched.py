"""Which files of the user's are others than before, and which only have another date."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bld.files import sha256_of
from bld.privacy import portable_path


def unchanged(paths: Iterable[str], record: str) -> set[str]:
    """Those of the files which hold what they held when the step with this record read them: they are older than
    the record, or have the digest in it.

    If that is true of all, the record gets the date of the newest, so that a large file is read once
    for a new date of it.
    """
    try:
        read_at = os.stat(record).st_mtime_ns
        inputs = json.loads(Path(record).read_text(encoding="utf-8"))["inputs"]
        dates = {path: os.stat(path).st_mtime_ns for path in paths}
    except (OSError, ValueError, KeyError):
        return set()
    newer = [path for path, date in dates.items() if date > read_at]
    others = {path for path in newer if inputs.get(portable_path(Path(path))) != sha256_of(path)}
    if newer and not others:
        # In a colleague's folder the date stays as it is, and the files are read again.
        with suppress(OSError):
            os.utime(record, ns=(max(dates.values()),) * 2)
    return dates.keys() - others
