"""Files of rows, whatever their format, read as a stream: JSON lines, JSON arrays, parquet, tables
with a header, and texts that are one row each; plain, or packed by gzip or zstd.

Of JSON lines, parquet and tables a few rows are in memory at a time; an array or a text is whole.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from bld.documents.intake import RowError
from bld.documents.parquet import open_parquet, record_batches
from bld.documents.rows import Row

SUFFIXES = {
    "jsonl": (".jsonl", ".ndjson"),
    "json": (".json",),
    "parquet": (".parquet",),
    "csv": (".csv",),
    "tsv": (".tsv",),
    "text": (".txt",),
}
PACKED = (".gz", ".zst")
# No text in UTF-8 and no parquet file begins like this.
MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SURROGATE_ESCAPES = re.compile("[\udc80-\udcff]")
"""What stands for bytes that are no UTF-8."""

Rows = Iterator[Row | RowError]


def format_of(name: str) -> str | None:
    """The format that a file has by the end of its name."""
    plain = name.lower()
    for suffix in PACKED:
        plain = plain.removesuffix(suffix)
    matches = (format for format, suffixes in SUFFIXES.items() if plain.endswith(suffixes))
    return next(matches, None)


def file_rows(path: Path, name: str, format: str, columns: Sequence[str]) -> Rows:
    """Yield the rows of a file, a RowError where one cannot be read; `name` begins their ids, and
    of parquet the given `columns` alone are read, as far as there are such.

    Raises ValueError, naming the file, if it is not whole.
    """
    try:
        if format == "parquet":
            yield from _parquet(path, name, columns)
        else:
            with _opened(path) as file:
                yield from READERS[format](file, path, name)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (OSError, EOFError) as error:
        raise ValueError(
            f"{path}: not a whole file ({error}); it may be truncated: make or fetch it again"
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    """The unpacked bytes of a file, as a stream."""
    with pa.input_stream(str(path), compression=_compression(path)) as stream:
        yield io.BufferedReader(stream, 1 << 20)


def _compression(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(4)
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


def _lines(file: io.BufferedReader, path: Path, name: str) -> Rows:
    offset = 0
    for number, line in enumerate(file, 1):
        where = f"{path}, line {number}"
        start, offset = offset, offset + len(line)
        if number == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)
        if not line.strip():
            continue
        try:
            values = json.loads(_decoded(line, where, start))
        except RowError as bad:
            yield bad
        except (json.JSONDecodeError, RecursionError) as error:
            yield RowError(
                "broken JSON",
                where,
                f"broken JSON ({error}); every line must be one JSON object; a file that is one "
                "array of them has `format: json`",
            )
        else:
            yield _object(values, path, number, name, "line")


def _object(values: Any, path: Path, number: int, name: str, unit: str) -> Row | RowError:
    if isinstance(values, dict):
        return Row(str(path), f"row {number}", f"{name}:{number}", values, list(values))
    return RowError(
        "no JSON object",
        f"{path}, {unit} {number}",
        f"every {unit} must be one JSON object, found {type(values).__name__}",
    )


def _array_or_lines(file: io.BufferedReader, path: Path, name: str) -> Rows:
    if not file.peek().removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"["):
        yield from _lines(file, path, name)
        return
    text = _decoded(file.read().removeprefix(BYTE_ORDER_MARK), str(path), 0)
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: broken JSON array ({error})") from error
    for number, value in enumerate(values, 1):
        yield _object(value, path, number, name, "row")


def _table(file: io.BufferedReader, path: Path, name: str, delimiter: str) -> Rows:
    csv.field_size_limit(sys.maxsize)
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    records = csv.reader(text, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    number = 0
    while True:
        where = f"{path}, line {records.line_num + 1}"
        try:
            record = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            # A quotation that never ends takes all that follows with it.
            if header is None or "end of data" in str(error):
                raise ValueError(f"{where}: broken table ({error})") from error
            number += 1
            yield RowError("a broken row of a table", where, f"broken row ({error})")
            continue
        if header is None:
            header = _header(record, where)
        elif record:
            number += 1
            yield _record(record, header, Row(str(path), f"row {number}", f"{name}:{number}"))


def _header(record: list[str], where: str) -> list[str]:
    if len(set(record)) < len(record) or "" in record:
        raise ValueError(
            f"{where}: expected a header with a name of its own for each column, found "
            f"{', '.join(record)}"
        )
    return record


def _record(record: list[str], header: list[str], row: Row) -> Row | RowError:
    if len(record) != len(header):
        return RowError(
            "another number of fields than the header has",
            row.where,
            f"expected {len(header)} fields as in the header, found {len(record)}",
        )
    if any(map(SURROGATE_ESCAPES.search, record)):
        return RowError("not valid UTF-8", row.where, "not valid UTF-8; convert the file to UTF-8")
    return row._replace(values=dict(zip(header, record, strict=True)), names=header)


def _text(file: io.BufferedReader, path: Path, name: str) -> Rows:
    try:
        text = _decoded(file.read(), str(path), 0)
    except RowError as bad:
        yield bad
    else:
        yield Row(str(path), "", name, {"text": text}, ["text"])


READERS: dict[str, Callable[..., Rows]] = {
    "jsonl": _lines,
    "json": _array_or_lines,
    "csv": partial(_table, delimiter=","),
    "tsv": partial(_table, delimiter="\t"),
    "text": _text,
}


def _parquet(path: Path, name: str, columns: Sequence[str]) -> Rows:
    with _unpacked(path) as file:
        with open_parquet(file) as opened:
            names = opened.schema_arrow.names
        wanted = [column for column in columns if column in names]
        number = 0
        for batch in record_batches(file, wanted):
            for i in range(batch.num_rows):
                number += 1
                row = Row(str(path), f"row {number}", f"{name}:{number}", {}, names)
                try:
                    values = {column: batch.column(column)[i].as_py() for column in wanted}
                except UnicodeDecodeError as error:
                    yield RowError(
                        "not valid UTF-8",
                        row.where,
                        f"not valid UTF-8 at byte offset {error.start} of the value "
                        f"({error.reason}); convert the source to UTF-8",
                    )
                else:
                    yield row._replace(values=values)


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """A file that may be read from any place on."""
    if _compression(path) is None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="bld_unpacked_") as folder, _opened(path) as packed:
        unpacked = Path(folder, path.name)
        with unpacked.open("wb") as file:
            shutil.copyfileobj(packed, file)
        yield unpacked


def _decoded(raw: bytes, where: str, start: int) -> str:
    """The text of `raw`, which begins at byte `start` of the file."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise RowError(
            "not valid UTF-8",
            where,
            f"not valid UTF-8 at byte offset {start + error.start} ({error.reason}); convert the "
            "file to UTF-8",
        ) from error
