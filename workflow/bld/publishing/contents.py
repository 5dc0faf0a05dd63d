"""The files of a crate: what is read, cleaned and digested; and the zip, of which the same files always give the same bytes."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bld.files import appearing
from bld.publishing.scrub import Scrubber

NO_TEXTS = {".parquet", ".safetensors", ".bundle", ".zip", ".png"}
FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""Of the zip format: files in a crate have no time."""
READABLE, UNIX = 0o100644 << 16, 3
ZIP64_BYTES = 2**31
CHUNK = 1 << 20


class Content(NamedTuple):
    """A file of the crate: `path` in the working folder and in the zip, digest and size of what is in the zip, `redacted`
    what was taken out of it, `original` the digest that it had before. A text is held in memory, all else is read from
    `source`."""

    path: str
    sha256: str
    size: int
    text: bytes | None = None
    source: Path | None = None
    original: str | None = None
    redacted: tuple[str, ...] = ()

    @property
    def recorded(self) -> str:
        """The digest that the records know."""
        return self.original or self.sha256

    def open(self) -> BinaryIO:
        """The bytes that go into the zip."""
        if self.text is not None:
            return io.BytesIO(self.text)
        assert self.source
        return open(self.source, "rb")


def read_content(path: str, source: Path, scrubber: Scrubber) -> Content:
    """A file as it goes into the crate. Raises ValueError if it holds a secret and is no text that could do without."""
    if source.suffix not in NO_TEXTS:
        raw = source.read_bytes()
        try:
            return text_content(path, raw.decode("utf-8"), scrubber)
        except UnicodeDecodeError:
            pass
    digest, size, tail = hashlib.sha256(), 0, b""
    with open(source, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if found := scrubber.secrets(tail + chunk):
                raise ValueError(
                    f"{source}: holds {found[0]}, and is no text that it could be taken out of; make the file without it"
                )
            tail = chunk[-512:]
    return Content(path, digest.hexdigest(), size, source=source)


def text_content(path: str, text: str, scrubber: Scrubber) -> Content:
    """A text as it goes into the crate, without secrets and without a person."""
    clean, redacted = scrubber.clean(text)
    data = clean.encode()
    return Content(
        path,
        hashlib.sha256(data).hexdigest(),
        len(data),
        text=data,
        original=hashlib.sha256(text.encode()).hexdigest() if redacted else None,
        redacted=tuple(redacted),
    )


def write_zip(contents: Iterable[Content], target: Path) -> None:
    """Write the crate, sorted by path; it appears by rename."""
    with appearing(target) as partial, zipfile.ZipFile(partial, "w") as archive:
        for content in sorted(contents, key=lambda content: content.path):
            entry = zipfile.ZipInfo(content.path, FIRST_DAY)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr, entry.create_system = READABLE, UNIX
            is_large = content.size >= ZIP64_BYTES
            with content.open() as source, archive.open(entry, "w", force_zip64=is_large) as file:
                shutil.copyfileobj(source, file, CHUNK)
