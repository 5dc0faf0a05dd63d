"""Documents on disk: parquet shards with a manifest per split, written and read as a stream.

Documents are dealt to the shards in turn, so that shards are alike in size and the original order
can be restored. Of more than IN_TURN shards so many at a time: IN_TURN consecutive shards hold
consecutive documents, so that however many shards there are, no more files are open. A split's
folder is whole exactly when its manifest.json is there.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bld.config.settings import Split
from bld.documents.document import Document
from bld.documents.parquet import open_parquet, record_batches
from bld.documents.splits import assign_split
from bld.files import MANIFEST, read_manifest, sha256_of, shard_name, write_json
from bld.symbols import Segment

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("kind", pa.string()),
        ("group", pa.string()),
        (
            "segments",
            pa.list_(
                pa.struct(
                    [("role", pa.string()), ("text", pa.binary()), ("supervised", pa.bool_())]
                )
            ),
        ),
    ]
)
IN_TURN = 64
UNDEALT = "undealt"
ROW_GROUP_DOCUMENTS = 256
ROW_GROUP_BYTES = 1 << 20

logger = logging.getLogger(__name__)


def write_splits(
    documents: Iterable[Document],
    folders: Mapping[str, Path],
    splits: Mapping[str, Split],
    seed: int,
    about: Callable[[], Mapping[str, Any]] = dict,
) -> dict[str, dict[str, Any]]:
    """Write shards and manifest of each split that has a folder, in one pass; returns the manifests
    by split.

    The shares of all `splits` decide where a document falls, whether or not its split is written.
    Stops reading `documents` once every split written has as many as it asks for. `about` gives
    extra keys for the manifests, once all is read. Raises ValueError, and leaves the folders as
    they were, if a split gets no document or fewer than it has shards.
    """
    shares = {name: split.fraction for name, split in splits.items()}
    unfilled = set(folders)
    read = 0
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(ShardWriter(folder, splits[name].shards))
            for name, folder in folders.items()
        }
        for document in documents:
            read += 1
            name = assign_split(document.group, shares, seed)
            if name not in unfilled:
                continue
            writers[name].add(document)
            if writers[name].documents == splits[name].documents:
                unfilled.remove(name)
                if not unfilled:
                    break
        for name, writer in writers.items():
            _check_count(name, splits[name], writer.documents, read)
        told = about()
        return {name: writer.finish(told) for name, writer in writers.items()}


def _check_count(name: str, split: Split, found: int, read: int) -> None:
    if found < split.shards:
        raise ValueError(
            f"split {name!r} got {found} documents for {split.shards} shards (fraction: "
            f"{split.fraction}, documents: {split.documents}, read in all: {read}); raise its "
            "fraction or `documents`, lower its shards, or give the corpus more sources"
        )
    if split.documents is not None and found < split.documents:
        logger.warning(
            "split %r got %d documents, fewer than its limit of %d", name, found, split.documents
        )


class ShardWriter:
    """Writes one split, under temporary names until `finish`.

    What a shard holds follows from how many documents there are, so those of more than IN_TURN
    shards first go into one file. Leaving the context removes what is unfinished.
    """

    def __init__(self, folder: Path, shards: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._names = [shard_name(number, shards) for number in range(shards)]
        self._is_dealt = shards <= IN_TURN
        self._open = _open(folder, self._names if self._is_dealt else [UNDEALT])
        self._kinds: dict[str, Counter[str]] = {}
        self._supervised_bytes = 0
        self._digest = hashlib.sha256()
        self.documents = 0

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for shard in self._open:
            shard.discard()
        for name in (UNDEALT, *self._names):
            _partial(self._folder, name).unlink(missing_ok=True)

    def add(self, document: Document) -> None:
        """Append a document to the shard whose turn it is."""
        content_bytes = len(document.content)
        self._open[self.documents % len(self._open)].add(document, content_bytes)
        kind = self._kinds.setdefault(document.kind, Counter())
        kind.update(documents=1, content_bytes=content_bytes)
        self._supervised_bytes += len(document.supervised)
        self._digest.update(_framed(document))
        self.documents += 1

    def finish(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Put the shards and then the manifest in place; returns the manifest."""
        shards = [shard.close() for shard in self._open]
        if not self._is_dealt:
            shards = self._deal()
        manifest = {
            "documents": self.documents,
            "content_bytes": sum(kind["content_bytes"] for kind in self._kinds.values()),
            "supervised_bytes": self._supervised_bytes,
            "kinds": {name: dict(kind) for name, kind in self._kinds.items()},
            "shards": shards,
            "content_sha256": self._digest.hexdigest(),
            **({} if self._is_dealt else {"shards_in_turn": IN_TURN}),
        }
        assert not manifest.keys() & about.keys(), "`about` would overwrite the manifest's own keys"
        manifest |= about
        self._remove_previous()
        for name in self._names:
            os.replace(_partial(self._folder, name), self._folder / f"{name}.parquet")
        write_json(self._folder / MANIFEST, manifest)
        return manifest

    def _deal(self) -> list[dict[str, Any]]:
        """Deal out the documents that are in one file; returns the shards as the manifest names
        them."""
        documents = read_shard(_partial(self._folder, UNDEALT))
        shards = []
        for first in range(0, len(self._names), IN_TURN):
            names = self._names[first : first + IN_TURN]
            self._open = _open(self._folder, names)
            last = first + len(names)
            share = sum(_share(x, self.documents, len(self._names)) for x in range(first, last))
            for number, document in enumerate(islice(documents, share)):
                self._open[number % len(names)].add(document, len(document.content))
            shards += [shard.close() for shard in self._open]
        return shards

    def _remove_previous(self) -> None:
        (self._folder / MANIFEST).unlink(missing_ok=True)
        for path in self._folder.iterdir():
            if re.fullmatch(r"\d+-of-\d+\.parquet", path.name):
                path.unlink()


def _share(shard: int, documents: int, shards: int) -> int:
    """How many of the documents of a split lie in one of its shards."""
    return len(range(shard, documents, shards))


def _partial(folder: Path, name: str) -> Path:
    return folder / f"{name}.parquet.partial"


def _open(folder: Path, names: Iterable[str]) -> list[_Shard]:
    return [_Shard(folder, name) for name in names]


class _Shard:
    """One parquet file under its temporary name."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.partial = _partial(folder, name)
        self._writer = pq.ParquetWriter(
            self.partial,
            SCHEMA,
            compression="zstd",
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        )
        self._rows: list[dict[str, Any]] = []
        self._row_bytes = 0
        self._documents = 0
        self._content_bytes = 0

    def add(self, document: Document, content_bytes: int) -> None:
        self._rows.append(_row(document))
        self._row_bytes += content_bytes
        self._documents += 1
        self._content_bytes += content_bytes
        if len(self._rows) >= ROW_GROUP_DOCUMENTS or self._row_bytes >= ROW_GROUP_BYTES:
            self._write_row_group()

    def close(self) -> dict[str, Any]:
        self._write_row_group()
        self._writer.close()
        return {
            "name": self.name,
            "documents": self._documents,
            "content_bytes": self._content_bytes,
            "sha256": sha256_of(self.partial),
        }

    def discard(self) -> None:
        self._writer.close()

    def _write_row_group(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
            self._rows, self._row_bytes = [], 0


def _row(document: Document) -> dict[str, Any]:
    return {
        "id": document.id,
        "kind": document.kind,
        "group": document.group,
        "segments": [segment._asdict() for segment in document.segments],
    }


def _framed(document: Document) -> bytes:
    fields = [document.id.encode(), str(len(document.segments)).encode()]
    for segment in document.segments:
        fields += [segment.role.encode(), segment.text, bytes([segment.supervised])]
    return b"".join(len(field).to_bytes(8, "big") + field for field in fields)


def read_shard(path: Path) -> Iterator[Document]:
    """Stream a shard's documents; raises ValueError, naming the file, if it is damaged."""
    with open_parquet(path) as file:
        if not file.schema_arrow.equals(SCHEMA):
            raise ValueError(
                f"{path}: not a shard of documents: expected the columns {SCHEMA.names} as the "
                f"corpus step writes them, found {file.schema_arrow.names}"
            )
    for batch in record_batches(path):
        for row in batch.to_pylist():
            yield document_in(row)


def document_in(row: Mapping[str, Any]) -> Document:
    """The document that a row of a shard holds."""
    segments = [Segment(**segment) for segment in row["segments"]]
    return Document(row["id"], row["kind"], row["group"], segments)


def checked_digest(path: Path, manifest: Mapping[str, Any] | None = None) -> str:
    """The SHA-256 of a shard; raises ValueError if it is missing, or is not what its split's
    manifest says, which is read if it is not given."""
    shards = (manifest or read_manifest(path.parent / MANIFEST)).get("shards", [])
    expected = next((str(one["sha256"]) for one in shards if one["name"] == path.stem), None)
    found = sha256_of(path) if path.exists() else None
    if expected is None or found != expected:
        raise ValueError(
            f"{path}: expected the digest {expected} as {path.parent / MANIFEST} says, found "
            f"{found or 'no such file'}; delete that manifest and make the corpus again"
        )
    return expected


def read_split(folder: Path) -> Iterator[Document]:
    """Stream a split's documents in the order in which they were written.

    Raises ValueError if the manifest is missing, names other shards than lie there, or counts other
    documents than they hold; the shards are looked at when their turn comes. At the end, if what
    was read has not the digest in the manifest.
    """
    manifest, paths = named_shards(folder)
    digest = hashlib.sha256()
    in_turn = manifest.get("shards_in_turn", len(paths))
    for first in range(0, len(paths), in_turn):
        for number, path in enumerate(paths[first : first + in_turn], first):
            _check_count_of(path, number, manifest)
        streams = [read_shard(path) for path in paths[first : first + in_turn]]
        while documents := [document for stream in streams if (document := next(stream, None))]:
            for document in documents:
                digest.update(_framed(document))
                yield document
    if (found := digest.hexdigest()) != manifest["content_sha256"]:
        raise ValueError(
            f"{folder}: expected documents with the digest {manifest['content_sha256']} as "
            f"{MANIFEST} says, found {found}; make the corpus again"
        )


def named_shards(folder: Path) -> tuple[Mapping[str, Any], list[Path]]:
    """The manifest of a split, and its shards in their order; raises ValueError if it is missing or
    names others than lie there."""
    manifest_path = folder / MANIFEST
    manifest = read_manifest(manifest_path)
    try:
        paths = [folder / f"{shard['name']}.parquet" for shard in manifest["shards"]]
        _ = [*(shard["documents"] for shard in manifest["shards"]), manifest["documents"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{manifest_path}: not the manifest of a split of documents") from error
    expected, present = set(paths), set(folder.glob("*.parquet"))
    if present != expected:
        lacking, besides = (
            [x.name for x in sorted(y)] for y in (expected - present, present - expected)
        )
        raise ValueError(
            f"{manifest_path} names {len(expected)} shards, but its folder lacks {lacking} and has "
            f"besides {besides}; make the corpus again"
        )
    return manifest, paths


def _check_count_of(path: Path, number: int, manifest: Mapping[str, Any]) -> None:
    with open_parquet(path) as file:
        found = file.metadata.num_rows
    documents, total = manifest["shards"][number]["documents"], manifest["documents"]
    share = _share(number, total, len(manifest["shards"]))
    if not found == documents == share:
        raise ValueError(
            f"{path} holds {found} documents, but {path.with_name(MANIFEST)} counts {documents} "
            f"for it and {total} in all (which makes {share} for this shard); "
            "make the corpus again"
        )
