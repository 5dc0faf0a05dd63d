"""The documents of a split by their numbers, each read when it is asked for: no process keeps them
in its memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bld.arrays import Lazy
from bld.documents.document import Document
from bld.documents.parquet import RowGroups
from bld.documents.shards import document_in, named_shards


class Order:
    """Where the documents of a split are by their numbers, as `shards` deals them out: `documents`
    in each shard, of which so many at a time are read `in_turn`. Shape letter: D documents."""

    def __init__(self, documents: Sequence[int], in_turn: int) -> None:
        self._in_turn, self._shards = in_turn, len(documents)
        self.first_of_shard = np.cumsum([0, *documents])
        self._first_in_turn = self.first_of_shard[::in_turn]

    def __len__(self) -> int:
        return int(self.first_of_shard[-1])

    def find(self, number_D: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The shard [D] that documents are in, and their row [D] in it."""
        block_D = np.searchsorted(self._first_in_turn, number_D, side="right") - 1
        first_D = block_D * self._in_turn
        shards_D = np.minimum(self._in_turn, self._shards - first_D)
        row_D, shard_D = np.divmod(number_D - self.first_of_shard[first_D], shards_D)
        return first_D + shard_D, row_D


class NumberedDocuments(Lazy[Document]):
    """The first `at_most` documents of the split in a folder, or all.

    Raises ValueError if its manifest is missing or names other shards than lie there, and when a
    document is read from a shard that is damaged.
    """

    def __init__(self, folder: Path, at_most: int | None = None) -> None:
        manifest, self._paths = named_shards(folder)
        counts = [shard["documents"] for shard in manifest["shards"]]
        self._order = Order(counts, manifest.get("shards_in_turn", len(counts)))
        self._rows = RowGroups()
        total = len(self._order)
        super().__init__(total if at_most is None else min(total, at_most), self._document)

    def _document(self, number: int) -> Document:
        shard_D, row_D = self._order.find(np.array([number]))
        return document_in(self._rows.row(self._paths[int(shard_D[0])], int(row_D[0])))
