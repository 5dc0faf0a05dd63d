"""A user's own data as a stream of documents: text files, JSON lines, parquet, datasets folders.

One row or file is in memory at a time. Text is kept byte for byte, and whatever cannot be kept is
an error that says where.
"""

from __future__ import annotations

import glob
import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bld.config.settings import Columns
from bld.documents.document import Document, make_document
from bld.documents.parquet import open_parquet, record_batches
from bld.folders import link_files

SUFFIXES = {"jsonl": ".jsonl", "parquet": ".parquet", "text": ".txt"}
ROLES = ("system", "user", "assistant")


class Row(NamedTuple):
    """One row, where it stands (for errors) and the id that it has if no column gives one."""

    where: str
    default_id: str
    values: Mapping[str, Any]


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
        yield from _documents(_file_rows(files, format, columns), columns)


def source_files(paths: Sequence[str], format: str) -> list[Path]:
    """The files that `read_files` reads."""
    return [path for _, path in _named_files(paths, SUFFIXES[format])]


def read_dataset(folder: str, split: str, columns: Columns) -> Iterator[Document]:
    """Yield a document per row of one split of a datasets folder on local disk, never the network.

    The folder holds a repository's files (parquet, JSON, ...) or what `save_to_disk` wrote. Raises
    ValueError for a folder or split that is not there, and as `read_files` for rows.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ValueError(f"{folder}: no such folder; fetch the dataset first or correct the path")
    rows = (
        Row(f"{folder}, split {split}, row {number}", f"{path.name}/{split}:{number}", values)
        for number, values in enumerate(_dataset_rows(path, split), 1)
    )
    yield from _documents(rows, columns)


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
    wanted = _column_names(columns)
    with open_parquet(path) as file:
        _check_columns(wanted, file.schema_arrow.names, str(path))
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


def _dataset_rows(path: Path, split: str) -> Iterator[Mapping[str, Any]]:
    # Imported here because it takes seconds that the other sources need not wait for.
    import datasets

    try:
        if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
            saved = datasets.load_from_disk(str(path))
            if isinstance(saved, datasets.Dataset):
                saved = {str(saved.split or split): saved}
            if split not in saved:
                raise ValueError(f"no split {split!r}, only {', '.join(saved)}")
            yield from saved[split]
        else:
            offline = datasets.DownloadConfig(local_files_only=True)
            # Without our manifest and record, which may be taken for its data.
            with tempfile.TemporaryDirectory(prefix="bld_dataset_") as alone:
                link_files(path, Path(alone))
                yield from datasets.load_dataset(
                    alone, split=split, streaming=True, download_config=offline
                )
    except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
        raise ValueError(f"{path}: cannot read split {split!r} of this dataset: {error}") from error


def _documents(rows: Iterable[Row], columns: Columns) -> Iterator[Document]:
    kinds = (columns.text, columns.messages, columns.prompt and columns.response)
    assert sum(map(bool, kinds)) == 1, f"one of text, messages, prompt + response, not {columns}"
    ids: set[bytes] = set()
    for row in rows:
        _check_columns(_column_names(columns), row.values.keys(), row.where)
        id = _id(row, columns.id, ids) if columns.id else row.default_id
        kind = "text" if columns.text else "conversation"
        turns = _turns(row, columns)
        try:
            document = make_document(id, kind, turns)
        except ValueError as error:
            raise ValueError(f"{row.where}: {error}") from error
        yield document


def _id(row: Row, column: str, ids: set[bytes]) -> str:
    """The row's own id, added to `ids` as a digest of 8 bytes to bound memory."""
    value = row.values[column]
    id = str(value) if isinstance(value, int) else _text(value, f"{row.where}, column {column!r}")
    digest = hashlib.blake2b(id.encode(errors="surrogatepass"), digest_size=8).digest()
    if digest in ids:
        raise ValueError(
            f"{row.where}: the id {id!a} was seen before; ids must be unique: repair the column "
            f"{column!r} or leave it out of the configuration"
        )
    ids.add(digest)
    return id


def _turns(row: Row, columns: Columns) -> list[tuple[str, str]]:
    if columns.messages:
        where = f"{row.where}, column {columns.messages!r}"
        return _messages(row.values[columns.messages], where)
    roles = (("text", columns.text), ("user", columns.prompt), ("assistant", columns.response))
    return [
        (role, _text(row.values[column], f"{row.where}, column {column!r}"))
        for role, column in roles
        if column
    ]


def _messages(messages: Any, where: str) -> list[tuple[str, str]]:
    if not isinstance(messages, list):
        raise ValueError(f"{where}: expected a list of messages, found {_shown(messages)}")
    turns = []
    for i, message in enumerate(messages, 1):
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            raise ValueError(
                f"{where}, message {i}: expected an object with role and content, "
                f"found {_shown(message)}"
            )
        if message["role"] not in ROLES:
            raise ValueError(
                f"{where}, message {i}: the role must be one of {', '.join(ROLES)}, "
                f"found {_shown(message['role'])}"
            )
        turns.append((message["role"], _text(message["content"], f"{where}, message {i}")))
    if not any(role == "assistant" for role, _ in turns):
        raise ValueError(
            f"{where}: the conversation has no assistant turn, so there is nothing to learn from; "
            "leave it out"
        )
    return turns


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where}: expected a string, found {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {value!a:.80}"


def _column_names(columns: Columns) -> list[str]:
    names = (columns.text, columns.messages, columns.prompt, columns.response, columns.id)
    return list(dict.fromkeys(name for name in names if name))


def _check_columns(wanted: Iterable[str], found: Iterable[str], where: str) -> None:
    for name in wanted:
        if name not in found:
            raise ValueError(
                f"{where}: no column {name!r}; the columns here are {', '.join(found) or 'none'}"
            )


def _decode(raw: bytes, path: Path, start: int) -> str:
    """The text of `raw`, which begins at byte `start` of the file."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not valid UTF-8 at byte offset {start + error.start} ({error.reason}); "
            "convert the file to UTF-8"
        ) from error
