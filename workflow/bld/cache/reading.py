"""The byte cache: the teacher's byte distributions on disk, once for every student, and with them,
if the scoring was asked for them, the scores of its own tokens.

Parquet shards beside those of the corpus (see `schema` for their columns), with a manifest. Files
are mapped, not loaded: in memory are only the places of the documents and the row groups that were
read last, and open are the shards that were, so many processes can read one cache of many shards.
The digests of the shards are shared out between the processes of a training.

Shape letters: D documents, N supervised symbols of a document, S symbols, K symbols kept at most.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bld.cache.schema import Stored, StoredBytes, StoredTokens, columns_of
from bld.cache.shards import ORIGIN, TAIL_SHAPE, check_format, check_origin, read_metadata
from bld.cache.tails import read_shape, spread_tails
from bld.cache.top_k import Signal, padded, padded_tokens
from bld.documents.parquet import open_parquet, record_batches
from bld.files import MANIFEST, read_manifest, sha256_of

ROW_GROUPS_IN_MEMORY = 32
OPEN_SHARDS = 64


class ByteCache:
    """Reads a cache by document id; an id that it does not have is a KeyError.

    Raises ValueError at once if the cache was not made from the documents in `corpus` (the folder
    of a split), is not whole, or is not what its manifest says.
    """

    def __init__(
        self,
        folder: Path,
        corpus: Path,
        row_groups_in_memory: int = ROW_GROUPS_IN_MEMORY,
        open_shards: int = OPEN_SHARDS,
    ) -> None:
        self.folder = folder
        manifest = read_manifest(folder / MANIFEST)
        check_format(folder / MANIFEST, manifest)
        _check_content(folder, manifest, corpus)
        self.most_kept: int = manifest["most_kept"]
        self.most_kept_tokens: int = manifest["most_kept_tokens"]
        self._paths = [folder / f"{shard['name']}.parquet" for shard in manifest["shards"]]
        self._open = lru_cache(open_shards)(partial(pq.ParquetFile, memory_map=True))
        self._number: dict[str, int] = {}
        places = [np.zeros((0, 4), np.int32)]
        rank, processes = (int(os.environ.get(x, y)) for x, y in (("RANK", 0), ("WORLD_SIZE", 1)))
        for index, shard in enumerate(manifest["shards"]):
            if index % processes == rank:
                _check_shard(self._paths[index], shard, manifest, corpus)
            places.append(self._index(index))
            _check_counts(folder, shard, places[-1], f"of shard {shard['name']}")
        # Shard, row group, row in it and number of symbols.
        self._places_D4 = np.concatenate(places)
        _check_counts(folder, manifest, self._places_D4, "in all")
        self._rows = lru_cache(2 * row_groups_in_memory)(self._decode)
        self._log_shape = lru_cache(row_groups_in_memory)(self._read_log_shape)

    def _index(self, shard: int) -> np.ndarray:
        """The places of a shard's documents."""
        path = self._paths[shard]
        with open_parquet(path) as file:
            rows_G = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
        group_D = np.repeat(np.arange(len(rows_G)), rows_G)
        row_D = np.arange(len(group_D)) - np.repeat(np.cumsum([0, *rows_G])[:-1], rows_G)
        symbols = [np.zeros(0, np.int32)]
        for batch in record_batches(path, columns=["id", "count"]):
            for document in batch.column("id").to_pylist():
                if document in self._number:
                    raise ValueError(
                        f"{path} holds a second document {document!r}; give the documents of "
                        "the corpus ids of their own and score again"
                    )
                self._number[document] = len(self._number)
            symbols.append(batch.column("count").to_numpy())
        shard_D = np.full(len(group_D), shard)
        return np.stack([shard_D, group_D, row_D, np.concatenate(symbols)], axis=1, dtype=np.int32)

    def symbols(self, document: str) -> int:
        """How many distributions a document has."""
        return int(self._places_D4[self._number[document], 3])

    def read(self, document: str) -> StoredBytes:
        """The distributions of a document."""
        return self._stored(StoredBytes, document)

    def read_padded(self, document: str) -> Signal:
        """`padded` distributions of a document, with one K for those of all documents."""
        stored, tokens = self.read(document), None
        self._check_most("most_kept", self.most_kept, stored.kept_N, document)
        if self.most_kept_tokens:
            found = self._stored(StoredTokens, document)
            self._check_most("most_kept_tokens", self.most_kept_tokens, found.kept_U, document)
            tokens = padded_tokens(found, self.most_kept_tokens)
        return padded(stored, self.most_kept, tokens)

    def _check_most(self, key: str, most: int, kept: np.ndarray, document: str) -> None:
        if kept.max(initial=0) > most:
            raise ValueError(
                f"{self.folder / MANIFEST}: {key} is {most}, but {kept.max()} are stored in one "
                f"place of document {document!r}; delete the manifest and gather again"
            )

    def _stored(self, record: type[Stored], document: str) -> Stored:
        """A record of a document, from the row group that it is in."""
        shard, group, row, _ = self._places_D4[self._number[document]].tolist()
        columns = columns_of(record).items()
        rows = self._rows(tuple(column.name for _, column in columns), shard, group)
        return record(
            **{
                f: rows.column(c.name)[row].values.to_numpy(zero_copy_only=False)
                for f, c in columns
            }
        )

    def read_dense(self, document: str) -> np.ndarray:
        """Normalised log-probabilities [N, S] of all symbols: what is not stored is spread as
        the teacher's tails are on average."""
        shard = int(self._places_D4[self._number[document], 0])
        return spread_tails(self.read(document), self._log_shape(shard))

    def _decode(self, columns: Sequence[str], shard: int, group: int) -> pa.RecordBatch:
        table = self._open(self._paths[shard]).read_row_group(
            group, columns=columns, use_threads=False
        )
        (rows,) = table.combine_chunks().to_batches()
        return rows

    def _read_log_shape(self, shard: int) -> np.ndarray:
        return read_shape(read_metadata(self._paths[shard])[TAIL_SHAPE])


def _check_content(folder: Path, manifest: Mapping[str, Any], corpus: Path) -> None:
    documents = read_manifest(corpus / MANIFEST)
    if manifest["content_sha256"] != documents["content_sha256"]:
        raise ValueError(
            f"the byte cache in {folder} was made from other documents than {corpus} holds "
            f"(content {manifest['content_sha256']} there, {documents['content_sha256']} here); "
            "score the teacher on these documents"
        )
    expected, found = ([s["name"] for s in m["shards"]] for m in (documents, manifest))
    if found != expected:
        raise ValueError(
            f"{folder / MANIFEST}: expected the shards {expected}, found {found}; delete it and "
            "gather again"
        )


def _check_shard(
    path: Path, shard: Mapping[str, Any], manifest: Mapping[str, Any], corpus: Path
) -> None:
    open_parquet(path).close()
    if (found := sha256_of(path)) != shard["sha256"]:
        raise ValueError(
            f"{path} is not the shard that its manifest names: expected sha256 {shard['sha256']}, "
            f"found {found}; delete both and score again"
        )
    documents = sha256_of(corpus / path.name)
    origin = json.loads(read_metadata(path)[ORIGIN])
    check_origin(path, origin, {**manifest, "documents_sha256": documents})


def _check_counts(
    folder: Path, counted: Mapping[str, Any], places_D4: np.ndarray, what: str
) -> None:
    held = {"documents": len(places_D4), "symbols": int(places_D4[:, 3].sum(dtype=np.int64))}
    for name, count in held.items():
        if counted[name] != count:
            raise ValueError(
                f"{folder / MANIFEST} counts {counted[name]} {name} {what}, but {count} are there; "
                "delete the manifest and gather again"
            )


class CachedSignals:
    """The cache as the trainer reads it: padded arrays by the index of a training document.

    `ids` are the ids of the training documents, `symbols` how many supervised symbols each has.
    Raises ValueError if one is missing or has another number of symbols in the cache.
    """

    def __init__(self, cache: ByteCache, ids: Sequence[str], symbols: Sequence[int]) -> None:
        self._cache, self._ids = cache, ids
        for document, expected in zip(ids, symbols, strict=True):
            try:
                found = cache.symbols(document)
            except KeyError:
                raise ValueError(
                    f"document {document!r} is not in the byte cache in {cache.folder}; score the "
                    "teacher on these documents"
                ) from None
            check_count(document, expected, found, f"byte cache in {cache.folder}")

    def read(self, documents: Sequence[int]) -> list[Signal]:
        """The signal of each document."""
        return [self._cache.read_padded(self._ids[document]) for document in documents]


def check_count(document: str, expected: int, found: int, where: str) -> None:
    """Raises ValueError if a document has another number of supervised symbols there."""
    if found != expected:
        raise ValueError(
            f"document {document!r} has {expected} supervised symbols but {found} in the {where}; "
            "score the teacher on these documents, and let the templates of both models write "
            "reasoning and calls alike or set `reasoning` and `tools` of both to `context`"
        )
