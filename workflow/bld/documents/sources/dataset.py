"""A data set's folder on local disk, in the layout of the Hugging Face hub or as `save_to_disk`
wrote it, as a stream of documents.

The `datasets` library says which files make up a split. Their rows are read as those of all files,
so that an error has a file and a row, and types may differ from row to row.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from huggingface_hub import metadata_load

from bld.config.documents import Columns
from bld.config.sources.dataset import DatasetSource
from bld.documents.document import Document
from bld.documents.files import Rows, file_rows, format_of
from bld.documents.formats import may_be_read
from bld.documents.intake import Intake, RowError
from bld.documents.rows import Row, row_documents
from bld.files import MANIFEST
from bld.folders import link_files
from bld.hub import CARD

# What a configuration of a card may say besides how its files are to be read.
KNOWN = {"config_name", "data_files", "data_dir", "default", "description", "version"}


def read(source: DatasetSource, datasets: Path, intake: Intake) -> Iterator[Document]:
    """The documents of these settings; `datasets`: the folder of fetched data sets."""
    folder = str(datasets / source.dataset)
    return read_dataset(folder, source.split, source.columns, source.name, intake)


def inputs(source: DatasetSource, datasets: Path) -> list[Path]:
    """The manifest of the data set."""
    return [datasets / source.dataset / MANIFEST]


def read_dataset(
    folder: str,
    split: str,
    columns: Columns | None = None,
    name: str | None = None,
    intake: Intake | None = None,
) -> Iterator[Document]:
    """Yield a document per row of one split of a data set, of its configuration `name` if it has
    several; never from the network.

    The folder holds a repository's files (parquet, JSON, ...) or what `save_to_disk` wrote. Raises
    ValueError for a folder, configuration or split that is not there, and as `read_files` for rows.
    """
    path, columns = Path(folder), columns or Columns()
    if not path.is_dir():
        raise ValueError(f"{folder}: no such folder; fetch the dataset first or correct the path")
    rows = _numbered(_dataset_rows(path, split, name, columns), f"{path.name}/{split}")
    yield from row_documents(rows, columns, intake or Intake())


def _numbered(rows: Rows, name: str) -> Rows:
    """The rows with ids that count through all files of a split."""
    for number, row in enumerate(rows, 1):
        yield row if isinstance(row, RowError) else row._replace(default_id=f"{name}:{number}")


def _dataset_rows(path: Path, split: str, name: str | None, columns: Columns) -> Rows:
    # Imported here because it takes seconds that the other sources need not wait for.
    import datasets

    read = 0
    try:
        if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
            saved = datasets.load_from_disk(str(path))
            if isinstance(saved, datasets.Dataset):
                saved = {str(saved.split or split): saved}
            if split not in saved:
                raise ValueError(f"no split {split!r}, only {', '.join(saved)}")
            yield from _library_rows(saved[split], path, split)
            return
        # Without our manifest and record, which may be taken for its data.
        with tempfile.TemporaryDirectory(prefix="bld_dataset_") as alone:
            link_files(path, Path(alone))
            configuration = _configuration(Path(alone), name)
            files = _split_files(Path(alone), split, configuration)
            formats = {format_of(file) for file in files}
            # Of a text the library makes a row of every line.
            if configuration.keys() <= KNOWN and not formats & {None, "text"}:
                for file in files:
                    format = str(format_of(file))
                    yield from file_rows(path / file, file, format, list(may_be_read(columns)))
                return
            offline = datasets.DownloadConfig(local_files_only=True)
            rows = datasets.load_dataset(
                alone, name, split=split, streaming=True, download_config=offline
            )
            for row in _library_rows(rows, path, split):
                yield row
                read += 1
    except (
        ValueError,
        TypeError,
        OSError,
        pa.ArrowException,
        datasets.exceptions.DatasetsError,
    ) as error:
        after = f" after row {read}" if read else ""
        told = " ".join(str(error).split())
        raise ValueError(
            f"{path}: cannot read split {split!r} of this dataset{after}: {told}"
        ) from error


def _library_rows(rows: Any, path: Path, split: str) -> Iterator[Row]:
    """Rows that the library reads itself."""
    for number, values in enumerate(rows, 1):
        yield Row(f"{path}, split {split}", f"row {number}", "", values, list(values))


def _configuration(folder: Path, name: str | None) -> Mapping[str, Any]:
    """What the card says of the configuration that is read; nothing if it names none."""
    card = folder / CARD
    said = (metadata_load(card) if card.is_file() else None) or {}
    named: dict[str, Mapping[str, Any]] = {
        one["config_name"]: one for one in said.get("configs") or []
    }
    if name is None and len(named) > 1:
        marked = [key for key, one in named.items() if one.get("default") or key == "default"]
        if not marked:
            raise ValueError(f"it has the configurations {', '.join(named)}; name one under `name`")
        name = marked[0]
    if name is None:
        return next(iter(named.values()), {})
    if name not in named:
        raise ValueError(
            f"no configuration {name!r}, only {', '.join(named) or 'one without name'}"
        )
    return named[name]


def _split_files(folder: Path, split: str, configuration: Mapping[str, Any]) -> list[str]:
    """The files of a split, by their names from the folder on."""
    from datasets.data_files import DataFilesDict, get_data_patterns, sanitize_patterns

    base = folder / configuration.get("data_dir", "")
    said = configuration.get("data_files")
    patterns = sanitize_patterns(said) if said else get_data_patterns(str(base))
    if split not in patterns:
        raise ValueError(f"no split {split!r}, only {', '.join(map(str, patterns))}")
    found = DataFilesDict.from_patterns({split: patterns[split]}, str(base.resolve()))
    if not found[split]:
        raise ValueError(
            f"no file here matches {', '.join(patterns[split])}; see `files` of the data set"
        )
    return [Path(file).relative_to(folder.resolve()).as_posix() for file in found[split]]
