"""Reading parquet files row batch by row batch, or at random by row groups, so that memory does not
grow with the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 256
ROW_GROUPS_IN_MEMORY = 32
OPEN_FILES = 64


def open_parquet(path: Path, memory_map: bool = False) -> pq.ParquetFile:
    """Open a file; raises ValueError, naming it, if it is missing, truncated or no parquet."""
    try:
        return pq.ParquetFile(path, memory_map=memory_map, page_checksum_verification=True)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(_unreadable(path, error)) from error


def record_batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield a file's batches of at most 256 rows; raises ValueError as `open_parquet`."""
    with open_parquet(path) as file, damage_told(path):
        yield from file.iter_batches(batch_size=BATCH_ROWS, columns=columns)


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """What pyarrow raises in the block as a ValueError that names the file."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(_unreadable(path, error)) from error


class RowGroups:
    """Row groups of any number of files, mapped: so many that were read last are kept `in_memory`,
    and so many files stay open."""

    def __init__(self, in_memory: int = ROW_GROUPS_IN_MEMORY, open_files: int = OPEN_FILES) -> None:
        self._open = lru_cache(open_files)(partial(open_parquet, memory_map=True))
        self._kept = lru_cache(in_memory)(self._read)
        self._begins_of = lru_cache(open_files)(self._begins)

    def read(
        self, path: Path, group: int, columns: tuple[str, ...] | None = None
    ) -> pa.RecordBatch:
        """A row group, or some columns of it; raises ValueError as `open_parquet`."""
        return self._kept(path, group, columns)

    def row(self, path: Path, number: int) -> dict[str, Any]:
        """A row of a file by its number; raises ValueError as `open_parquet`."""
        begins = self._begins_of(path)
        group = int(np.searchsorted(begins, number, side="right")) - 1
        [found] = self.read(path, group).slice(number - int(begins[group]), 1).to_pylist()
        return dict(found)

    def _read(self, path: Path, group: int, columns: tuple[str, ...] | None) -> pa.RecordBatch:
        wanted = columns and list(columns)
        with damage_told(path):
            table = self._open(path).read_row_group(group, columns=wanted, use_threads=False)
        (rows,) = table.combine_chunks().to_batches()
        return rows

    def _begins(self, path: Path) -> np.ndarray:
        """The numbers of the first rows of the groups of a file."""
        metadata = self._open(path).metadata
        rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        begins: np.ndarray = np.cumsum([0, *rows])[:-1]
        return begins


def _unreadable(path: Path, error: Exception) -> str:
    return (
        f"{path}: not a whole parquet file ({error}); it may be truncated: make or fetch it again"
    )
