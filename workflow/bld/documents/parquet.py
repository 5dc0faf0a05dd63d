"""Reading parquet files row batch by row batch, so that memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 256


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


def _unreadable(path: Path, error: Exception) -> str:
    return (
        f"{path}: not a whole parquet file ({error}); it may be truncated: make or fetch it again"
    )
