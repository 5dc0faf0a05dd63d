"""A datasets folder on local disk as a stream of documents, row by row."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bld.config.documents import Columns
from bld.config.sources.dataset import DatasetSource
from bld.documents.document import Document
from bld.documents.rows import Row, row_documents
from bld.files import MANIFEST
from bld.folders import link_files


def read(source: DatasetSource, datasets: Path) -> Iterator[Document]:
    """The documents of these settings; `datasets`: the folder of fetched data sets."""
    return read_dataset(str(datasets / source.dataset), source.split, source.columns)


def inputs(source: DatasetSource, datasets: Path) -> list[Path]:
    """The manifest of the data set."""
    return [datasets / source.dataset / MANIFEST]


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
    yield from row_documents(rows, columns)


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
