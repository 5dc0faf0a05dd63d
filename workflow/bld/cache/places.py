"""Where the documents of a cache are, so that one is found without reading any shard.

A shard tells of its documents in its metadata, in their order; gathering sorts those of all shards
by a digest of the id into one file beside the manifest, which readers map: no process has it in
memory, whatever the number of documents. Whoever reads a document compares its id.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from bld.documents.document import id_digest
from bld.files import appearing

PLACES = "places.arrow"
TOLD = np.dtype([("key", "<u8"), ("symbols", "<i4")])


def keys_of(ids: Iterable[str]) -> np.ndarray:
    """Digests of ids, [D]."""
    return np.frombuffer(b"".join(map(id_digest, ids)), "<u8")


def told(ids: Sequence[str], symbols: Sequence[int]) -> bytes:
    """What a shard tells of its documents: their ids' digests and numbers of symbols."""
    told_D = np.zeros(len(ids), TOLD)
    told_D["key"], told_D["symbols"] = keys_of(ids), symbols
    return base64.b64encode(told_D.tobytes())


class Places(NamedTuple):
    """Documents in the order of the digests of their ids, `key`; where each is: `shard`, row
    `group` of it and `row` of that; and how many `symbols` it has. All [D]."""

    key: np.ndarray
    shard: np.ndarray
    group: np.ndarray
    row: np.ndarray
    symbols: np.ndarray

    def find(self, ids: Iterable[str]) -> np.ndarray:
        """The numbers of documents, -1 for those that are not there."""
        keys = keys_of(ids)
        if not len(self.key):
            return np.full(len(keys), -1)
        found = np.minimum(np.searchsorted(self.key, keys), len(self.key) - 1)
        return np.where(self.key[found] == keys, found, -1)


def places_in(shard: int, told: str, rows_G: Sequence[int]) -> Places:
    """The places of a shard's documents, in its order, from what it tells and the rows of its row
    groups; raises ValueError if they do not fit."""
    try:
        told_D = np.frombuffer(base64.b64decode(told, validate=True), TOLD)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"what it tells of its documents is damaged ({error})") from error
    if len(told_D) != sum(rows_G):
        raise ValueError(f"it tells of {len(told_D)} documents, but holds {sum(rows_G)}")
    starts_G = np.cumsum([0, *rows_G])[:-1]
    return Places(
        key=told_D["key"],
        shard=np.full(len(told_D), shard, np.int32),
        group=np.repeat(np.arange(len(rows_G), dtype=np.int32), rows_G),
        row=(np.arange(len(told_D)) - np.repeat(starts_G, rows_G)).astype(np.int32),
        symbols=told_D["symbols"],
    )


def in_order(places: Sequence[Places]) -> Places:
    """The places of all shards as one, in the order of their keys, those of one key as given."""
    columns = [np.concatenate(column) for column in zip(*places, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return Places(*(column[order] for column in columns))


def write_places(path: Path, places: Places) -> None:
    """Write a file that can be mapped; it appears by rename."""
    batch = pa.RecordBatch.from_pydict(places._asdict())
    with appearing(path) as partial, pa.ipc.new_file(partial, batch.schema) as file:
        file.write_batch(batch)


def map_places(path: Path) -> Places:
    """What `write_places` has written; raises ValueError if it cannot be read."""
    try:
        batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        return Places(*(batch.column(name).to_numpy() for name in Places._fields))
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise ValueError(
            f"{path}: not the places of a cache's documents ({error}); delete the manifest beside "
            "it and gather again"
        ) from error
