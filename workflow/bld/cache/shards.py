"""A shard of the byte cache: a parquet file beside that of its documents.

One row per document: a list for each column of `schema`, of the distributions of its bytes, then of
what the teacher says at its own tokens (empty where that is not stored). A document's supervised
symbols are the bytes of its supervised segments, each segment followed by END; they are found by
document id and symbol number alone, so one cache serves every tokenizer. Row groups are small,
because a document is read by decoding its row group. Bytes of one significance are stored together
(BYTE_STREAM_SPLIT), which halves what zstd makes of symbols and log-probabilities.

The file says what it was scored from, how the mass that it does not store is spread, and, so that
a cache is gathered and opened without reading rows, what is counted over them and which documents
they are of.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bld.cache.figures import Figures
from bld.cache.places import told
from bld.cache.schema import FORMAT, RECORDS, StoredBytes, StoredTokens, columns_of, nothing_stored
from bld.documents.parquet import open_parquet

GROUP_SYMBOLS = 4096


def _list_of(type: str) -> pa.DataType:
    element = pa.from_numpy_dtype(np.dtype(type))
    return pa.list_(pa.field("element", element, nullable=False))


LISTS = {c.name: _list_of(c.type) for record in RECORDS for c in columns_of(record).values()}
SCHEMA = pa.schema(
    [
        pa.field(name, type, nullable=False)
        for name, type in {
            "id": pa.string(),
            "count": pa.int32(),
            "windows": pa.int32(),
            **LISTS,
        }.items()
    ]
)
ORIGIN, TAIL_SHAPE = "origin", "tail_shape"
FIGURES, DOCUMENTS = "figures", "documents"
OTHERS = {
    "documents_sha256": "from other documents",
    "teacher_sha256": "by another teacher",
    "settings": "with other settings",
}
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Origin(NamedTuple):
    """What a shard was scored from: digests of its documents, of the manifests of the teacher's
    models and of the step that scored it, and that step's settings."""

    documents_sha256: str
    teacher_sha256: str
    step: str
    settings: Mapping[str, Any]

    def to_json(self) -> str:
        """As it stands in the file, together with the format."""
        return json.dumps({"format": FORMAT, **self._asdict()}, sort_keys=True)

    @property
    def fingerprint(self) -> str:
        """A short digest of all of it."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]


class Row(NamedTuple):
    """A scored document; `windows` is in how many pieces the teacher read it."""

    id: str
    windows: int
    bytes: StoredBytes
    tokens: StoredTokens | None = None


def table_of(rows: Sequence[Row]) -> pa.Table:
    """The rows as a table."""
    no_tokens = nothing_stored(StoredTokens)
    stored: list[Sequence[StoredBytes | StoredTokens]] = [
        [row.bytes for row in rows],
        [row.tokens or no_tokens for row in rows],
    ]
    columns: list[pa.Array] = [
        pa.array([row.id for row in rows], pa.string()),
        pa.array([len(row.bytes.kept_N) for row in rows], pa.int32()),
        pa.array([row.windows for row in rows], pa.int32()),
    ]
    for record, of_rows in zip(RECORDS, stored, strict=True):
        for field, column in columns_of(record).items():
            values, type = [getattr(row, field) for row in of_rows], LISTS[column.name]
            offsets = pa.array(np.cumsum([0, *map(len, values)]), pa.int32())
            flat = pa.array(np.concatenate(values), type.value_type)
            columns.append(pa.ListArray.from_arrays(offsets, flat, type=type))
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def write_tables(path: Path, tables: Iterable[pa.Table], metadata: Mapping[str, str]) -> None:
    """Write tables as one file, which appears by rename.

    Raises OSError, and leaves nothing behind, if there is no room.
    """
    encodings = {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in LISTS}
    options = {"compression": "zstd", "compression_level": 6, "column_encoding": encodings}
    options |= {"use_dictionary": False, "write_statistics": False, "write_page_checksum": True}
    figures, ids, symbols = Figures(), list[str](), list[int]()
    with _appearing(path) as file, pq.ParquetWriter(file, SCHEMA, **options) as writer:
        for table in tables:
            for group in _row_groups(table):
                writer.write_table(group)
            for batch in table.to_batches():
                figures.count(batch)
            ids += table.column("id").to_pylist()
            symbols += table.column("count").to_pylist()
        about = {FIGURES: figures.to_json(), DOCUMENTS: told(ids, symbols)}
        writer.add_key_value_metadata({**metadata, **about})


def _row_groups(table: pa.Table) -> Iterator[pa.Table]:
    """Consecutive rows of at least GROUP_SYMBOLS symbols, the last of what is left."""
    first = symbols = 0
    for row, count in enumerate(table.column("count").to_pylist(), start=1):
        symbols += count
        if symbols >= GROUP_SYMBOLS or row == table.num_rows:
            yield table.slice(first, row - first)
            first, symbols = row, 0


@contextmanager
def _appearing(path: Path) -> Iterator[BinaryIO]:
    """A file under a name of its own, which becomes `path` when the block ends without an error.

    It is locked while it is written, by which the next to write `path` knows what is left over from
    a process that was killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f"{path.name}.*.partial"):
        with suppress(OSError), open(leftover, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with open(partial, "xb") as file:
            with suppress(OSError):  # file systems without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            yield file
            file.flush()
            os.fsync(file.fileno())  # a disk that is full on another machine says so only here
            os.replace(partial, path)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise OSError(
            error.errno,
            f"{os.strerror(error.errno)}: make room and run again, what is scored already is kept",
            str(path),
        ) from error
    finally:
        partial.unlink(missing_ok=True)


class About(NamedTuple):
    """What a shard tells of itself: its metadata by key, and the rows of its row groups."""

    metadata: Mapping[str, str]
    rows_G: Sequence[int]


def read_about(path: Path) -> About:
    """What a shard tells of itself, without reading its rows.

    Raises ValueError if it is no whole parquet file, or of another format.
    """
    with open_parquet(path) as file:
        found = {k.decode(): v.decode() for k, v in (file.metadata.metadata or {}).items()}
        rows_G = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        columns = file.schema_arrow.names
    check_format(path, json.loads(found.get(ORIGIN, "{}")))
    if columns != SCHEMA.names:
        raise ValueError(
            f"{path}: expected the columns {SCHEMA.names}, found {columns}; delete it and score "
            "again"
        )
    return About(found, rows_G)


def check_format(path: Path, found: Mapping[str, Any]) -> None:
    """Raise ValueError unless `found`, read from `path`, is of the format that is written today."""
    if found.get("format") != FORMAT:
        raise ValueError(
            f"{path}: expected a byte cache of format {FORMAT}, found "
            f"{found.get('format', 'one from before formats were counted')}; delete it and score "
            "again"
        )


def check_origin(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raise ValueError unless the shard's origin says what is expected of it."""
    for key, other in OTHERS.items():
        if found[key] != expected[key]:
            raise ValueError(
                f"{path} was scored {other}: {_difference(expected[key], found[key])}; delete it "
                "and score again"
            )


def _difference(expected: Any, found: Any, where: str = "") -> str:
    """Where two settings differ, down to the first value that does."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        keys = sorted(expected.keys() | found.keys())
        key = next(key for key in keys if expected.get(key) != found.get(key))
        return _difference(expected.get(key), found.get(key), f"{where}{key}: ")
    return f"{where}expected {expected!r}, found {found!r}"
