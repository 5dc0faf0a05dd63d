"""A user's own files as a stream of documents."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from bld.config.documents import Columns
from bld.config.sources.files import FilesSource
from bld.documents.document import Document
from bld.documents.files import SUFFIXES, Rows, file_rows, format_of
from bld.documents.formats import may_be_read
from bld.documents.intake import Intake
from bld.documents.rows import row_documents

ENDINGS = ", ".join(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


def read(source: FilesSource, datasets: Path, intake: Intake) -> Iterator[Document]:
    """The documents of these settings."""
    return read_files(source.paths, source.format, source.columns, intake)


def inputs(source: FilesSource, datasets: Path) -> list[Path]:
    """The files that are read."""
    return [path for _, path in _named_files(source.paths, source.format)]


def read_files(
    paths: Sequence[str],
    format: str | None = None,
    columns: Columns | None = None,
    intake: Intake | None = None,
) -> Iterator[Document]:
    """Yield a document per row, or per file of the format "text"; without a `format`, the end of
    each file's name says it. Which rows are left out is up to the intake, by default none.

    `paths` are files, folders (all files below of the format, sorted) or glob patterns. Raises
    ValueError that names file and row for whatever is missing, broken or not text.
    """
    files = [(name, path, format or _format_of(path)) for name, path in _named_files(paths, format)]
    # Of texts there is one column.
    only_texts = all(each == "text" for _, _, each in files)
    columns = Columns(text="text") if only_texts else columns or Columns()
    yield from row_documents(_rows(files, columns), columns, intake or Intake())


def _rows(files: Sequence[tuple[str, Path, str]], columns: Columns) -> Rows:
    wanted = list(may_be_read(columns))
    for name, path, format in files:
        yield from file_rows(path, name, format, wanted)


def _format_of(path: Path) -> str:
    format = format_of(path.name)
    if format is None:
        raise ValueError(
            f"{path}: expected a name that ends in one of {ENDINGS} (and .gz or .zst), or a "
            "`format`"
        )
    return format


def _named_files(paths: Sequence[str], format: str | None) -> list[tuple[str, Path]]:
    """The files that `paths` stand for, each with the name that its documents' ids begin with."""
    files: dict[str, Path] = {}
    for given in paths:
        for name, path in sorted(_matches(given, format)):
            if name in files:
                raise ValueError(
                    f"{files[name]} and {path} would give their documents the same ids; list each "
                    "file once, rename one, or give the folder that holds both"
                )
            files[name] = path
    return list(files.items())


def _matches(given: str, format: str | None) -> list[tuple[str, Path]]:
    path = Path(given)
    if path.is_dir():
        found = [
            (file.relative_to(path).as_posix(), file)
            for file in path.rglob("*")
            if file.is_file() and format_of(file.name) in ([format] if format else SUFFIXES)
        ]
        endings = ", ".join(SUFFIXES[format]) if format else f"one of {ENDINGS}"
        nothing = f"the folder holds no file that ends in {endings}"
        formats = {str(format_of(name)) for name, _ in found}
        if len(formats) > 1:
            raise ValueError(
                f"{given}: the folder holds files of several formats, {', '.join(sorted(formats))};"
                " name one under `format`, or give patterns for `paths`"
            )
    elif path.is_file():
        return [(path.name, path)]
    else:
        files = [file for file in map(Path, glob.glob(given, recursive=True)) if file.is_file()]
        found = [(file.name, file) for file in files]
        nothing = "no such file, and as a pattern it matches none"
    if not found:
        raise ValueError(f"{given}: {nothing}; correct the path")
    return found
