"""A user's own files as a stream of documents: text files, JSON lines, parquet.

One row or file is in memory at a time.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bld.config.documents import Columns
from bld.config.sources.files import FilesSource
from bld.documents.document import Document, make_document
from bld.documents.parquet import open_parquet, record_batches
from bld.documents.rows import Row, check_columns, column_names, row_documents

SUFFIXES = {"jsonl": ".jsonl", "parquet": ".parquet", "text": ".txt"}


def read(source: FilesSource, datasets: Path) -> Iterator[Document]:
    """The documents of these settings."""
    return read_files(source.paths, source.format, source.columns)


def inputs(source: FilesSource, datasets: Path) -> list[Path]:
    """The files that are read."""
    return [path for _, path in _named_files(source.paths, SUFFIXES[source.format])]


def read_files(paths: Sequence[str], format: str, columns: Columns | None) -> Iterator[Document]:
    """Yield a document per row ("jsonl", "parquet") or per file ("text", which needs no `columns`).

    `paths` are files, folders (all files below with the format's suffix, sorted) or glob patterns.
    Raises ValueError that names file and row for whatever is missing, broken or not text.
    """
    files = _named_files(paths, SUFFIXES[format])
    if format == "text":
        for name, path in files:
            yield make_document(name, "text", [("text", _decode(path.read_bytes(), path, 0))])
    else:
        assert columns is not None, f"{format} needs columns"
        yield from row_documents(_file_rows(files, format, columns), columns)


def _named_files(paths: Sequence[str], suffix: str) -> list[tuple[str, Path]]:
    """The files that `paths` stand for, each with the name that its documents' ids begin with."""
    files: dict[str, Path] = {}
    for given in paths:
        for name, path in sorted(_matches(given, suffix)):
            if name in files:
                raise ValueError(
                    f"{files[name]} and {path} would give their documents the same ids; list each "
                    "file once, rename one, or give the folder that holds both"
                )
            files[name] = path
    return list(files.items())


def _matches(given: str, suffix: str) -> list[tuple[str, Path]]:
    path = Path(given)
    if path.is_dir():
        files = [file for file in path.rglob(f"*{suffix}") if file.is_file()]
        found = [(file.relative_to(path).as_posix(), file) for file in files]
        nothing = f"the folder holds no file that ends in {suffix}"
    elif path.is_file():
        return [(path.name, path)]
    else:
        files = [file for file in map(Path, glob.glob(given, recursive=True)) if file.is_file()]
        found = [(file.name, file) for file in files]
        nothing = "no such file, and as a pattern it matches none"
    if not found:
        raise ValueError(f"{given}: {nothing}; correct the path")
    return found


def _file_rows(files: Iterable[tuple[str, Path]], format: str, columns: Columns) -> Iterator[Row]:
    for name, path in files:
        rows = _jsonl_rows(path) if format == "jsonl" else _parquet_rows(path, columns)
        for number, values in enumerate(rows, 1):
            yield Row(f"{path}, row {number}", f"{name}:{number}", values)


def _jsonl_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = _decode(line, path, offset)
            offset += len(line)
            try:
                row = json.loads(text)
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"{path}, line {number}: broken JSON ({error.msg} at character {error.pos}); "
                    "every line must be one JSON object"
                ) from error
            if not isinstance(row, dict):
                raise ValueError(
                    f"{path}, line {number}: every line must be one JSON object, "
                    f"found {type(row).__name__}"
                )
            yield row


def _parquet_rows(path: Path, columns: Columns) -> Iterator[Mapping[str, Any]]:
    wanted = column_names(columns)
    with open_parquet(path) as file:
        check_columns(wanted, file.schema_arrow.names, str(path))
    number = 0
    for batch in record_batches(path, wanted):
        for i in range(batch.num_rows):
            number += 1
            try:
                values = {name: batch.column(name)[i].as_py() for name in wanted}
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}, row {number}: not valid UTF-8 at byte offset {error.start} of the "
                    f"value ({error.reason}); convert the source to UTF-8"
                ) from error
            yield values


def _decode(raw: bytes, path: Path, start: int) -> str:
    """The text of `raw`, which begins at byte `start` of the file."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not valid UTF-8 at byte offset {start + error.start} ({error.reason}); "
            "convert the file to UTF-8"
        ) from error
