"""What in a zip file could harm whoever unpacks it (names that climb out, links, bombs), or means different
things to different readers (duplicates, names that differ in case alone)."""

from __future__ import annotations

import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

MOST_FILES = 1_000_000
MOST_BYTES = 256 * 2**30
"""Unpacked, of the whole crate; one with the weights of large models has some tens of GiB."""
MOST_SQUEEZED = 400
"""Times that a file of a mebibyte or more may shrink; repetitive logs shrink some hundred times, bombs a thousand."""


def dangers(entries: Sequence[zipfile.ZipInfo]) -> Iterator[str]:
    """Why these entries are better not unpacked, a sentence each."""
    if len(entries) > MOST_FILES:
        yield f"{len(entries)} files, expected {MOST_FILES} at most"
    total = sum(entry.file_size for entry in entries)
    if total > MOST_BYTES:
        yield f"unpacks to {total} bytes, expected {MOST_BYTES} at most"
    seen: dict[str, str] = {}
    for entry in entries:
        yield from (f"{entry.orig_filename!r} {reason}" for reason in _dangers_of(entry))
        key = unicodedata.normalize("NFC", entry.filename.removesuffix("/")).casefold()
        other = seen.setdefault(key, entry.filename)
        if other is not entry.filename:
            yield (
                f"{entry.filename!r} is there twice"
                if other == entry.filename
                else f"{entry.filename!r} and {other!r} are one file on systems that fold case or accents"
            )
    for key, name in seen.items():
        for parent in PurePosixPath(key).parents:
            above = seen.get(str(parent))
            if above is not None and not above.endswith("/"):
                yield f"{name!r} lies in {above!r}, which is a file"


def _dangers_of(entry: zipfile.ZipInfo) -> Iterator[str]:
    name, mode = entry.orig_filename, entry.external_attr >> 16
    parts = name.removesuffix("/").split("/")
    if name.startswith("/") or "\\" in name or re.match(r"[A-Za-z]:", name):
        yield "is no path inside a folder: it is absolute, or has a drive or backslashes"
    if any(part in ("", ".", "..") for part in parts):
        yield "climbs out of its folder, or has an empty part"
    if any(part.casefold() == ".git" for part in parts):
        yield "would change a git repository"
    if any(unicodedata.category(character) == "Cc" for character in name):
        yield "has control characters in its name"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        yield "is a link or another special file"
    if name.endswith("/") and entry.file_size:
        yield "is a folder with bytes of its own"
    if entry.flag_bits & 1:
        yield "is encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        yield "is compressed in another way than deflate"
    if entry.file_size >= 2**20 and entry.file_size > MOST_SQUEEZED * entry.compress_size:
        yield f"unpacks from {entry.compress_size} to {entry.file_size} bytes, which no result does"
