"""The byte cache: the teacher's byte distributions on disk, once for every student, and with them,
if the scoring was asked for them, the scores of its own tokens.

Parquet shards beside those of the corpus (see `schema` for their columns), with a manifest and the
places of the documents (see `places`). Files are mapped, not loaded: in memory are only the row
groups that were read last, and open are the shards that were, so many processes can read one cache
of many shards. Gathering has compared the shards' digests; what is opened is known by its size and
by what it tells of itself, which the processes of a training share out, and pages by their
checksums when they are read.

Shape letters: N supervised symbols of a document, S symbols, K symbols kept at most.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bld.cache.places import PLACES, Places, map_places
from bld.cache.schema import Stored, StoredBytes, StoredTokens, columns_of
from bld.cache.shards import ORIGIN, TAIL_SHAPE, check_format, check_origin, read_about
from bld.cache.tails import read_shape, spread_tails
from bld.cache.top_k import Signal, padded, padded_tokens
from bld.documents.parquet import OPEN_FILES, ROW_GROUPS_IN_MEMORY, RowGroups
from bld.files import MANIFEST, read_manifest, sha256_of


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
        open_shards: int = OPEN_FILES,
    ) -> None:
        self.folder = folder
        manifest = read_manifest(folder / MANIFEST)
        check_format(folder / MANIFEST, manifest)
        _check_content(folder, manifest, corpus)
        self.most_kept: int = manifest["most_kept"]
        self.most_kept_tokens: int = manifest["most_kept_tokens"]
        self._paths = [folder / f"{shard['name']}.parquet" for shard in manifest["shards"]]
        rank, processes = (int(os.environ.get(x, y)) for x, y in (("RANK", 0), ("WORLD_SIZE", 1)))
        _check_size(folder / PLACES, manifest["places"]["bytes"])
        if rank == 0 and sha256_of(folder / PLACES) != manifest["places"]["sha256"]:
            raise ValueError(
                f"{folder / PLACES} is not what {folder / MANIFEST} names; delete both and gather "
                "again"
            )
        self._places = map_places(folder / PLACES)
        _check_counts(folder, manifest, self._places)
        documents = read_manifest(corpus / MANIFEST)["shards"]
        for index in range(rank, len(self._paths), processes):
            shard = manifest["shards"][index]
            of_these = {**manifest, "documents_sha256": documents[index]["sha256"]}
            _check_shard(self._paths[index], shard, of_these)
        # Of a row group bytes and tokens are read apart.
        self._rows = RowGroups(2 * row_groups_in_memory, open_shards)
        self._log_shape = lru_cache(row_groups_in_memory)(self._read_log_shape)

    def symbols(self, documents: Sequence[str]) -> np.ndarray:
        """How many distributions each of the documents has, -1 for those that are not there."""
        found = self._places.find(documents)
        return np.where(found < 0, -1, self._places.symbols[found])

    def _number(self, document: str) -> int:
        (number,) = self._places.find([document]).tolist()
        if number < 0:
            raise KeyError(document)
        return int(number)

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
        """A record of a document."""
        columns = columns_of(record)
        values = self._values(document, *(column.name for column in columns.values()))
        return record(**dict(zip(columns, values, strict=True)))

    def _values(self, document: str, *columns: str) -> list[np.ndarray]:
        """Columns of a document, from the row group that it is in."""
        number, places = self._number(document), self._places
        shard, group, row = (int(x[number]) for x in (places.shard, places.group, places.row))
        rows = self._rows.read(self._paths[shard], group, ("id", *columns))
        if (found := rows.column("id")[row].as_py()) != document:
            raise ValueError(
                f"{self._paths[shard]} holds document {found!r} where {document!r} is expected as "
                f"{self.folder / PLACES} says; delete the manifest and gather again"
            )
        return [rows.column(x)[row].values.to_numpy(zero_copy_only=False) for x in columns]

    def read_dense(self, document: str) -> np.ndarray:
        """Normalised log-probabilities [N, S] of all symbols: what is not stored is spread as
        the teacher's tails are on average."""
        shard = int(self._places.shard[self._number(document)])
        return spread_tails(self.read(document), self._log_shape(shard))

    def _read_log_shape(self, shard: int) -> np.ndarray:
        return read_shape(read_about(self._paths[shard]).metadata[TAIL_SHAPE])


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


def _check_shard(path: Path, shard: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    about = read_about(path)
    _check_size(path, shard["bytes"])
    check_origin(path, json.loads(about.metadata[ORIGIN]), expected)
    if (found := sum(about.rows_G)) != shard["documents"]:
        raise ValueError(
            f"{path.parent / MANIFEST} counts {shard['documents']} documents of shard "
            f"{shard['name']}, but {found} are there; delete the manifest and gather again"
        )


def _check_size(path: Path, expected: int) -> None:
    found = path.stat().st_size if path.exists() else "no such file"
    if found != expected:
        raise ValueError(
            f"{path} is not the file that its manifest names: expected {expected} bytes, found "
            f"{found}; delete both and make them again"
        )


def _check_counts(folder: Path, manifest: Mapping[str, Any], places: Places) -> None:
    shards = len(manifest["shards"])
    documents = np.bincount(places.shard, minlength=shards)
    symbols = np.bincount(places.shard, places.symbols, shards)  # float64, exact to 2^53
    counted = [
        (f"of shard {shard['name']}", shard, int(documents[i]), int(symbols[i]))
        for i, shard in enumerate(manifest["shards"])
    ]
    counted.append(("in all", manifest, int(documents.sum()), int(symbols.sum())))
    for what, told, *held in counted:
        for name, count in zip(("documents", "symbols"), held, strict=True):
            if told[name] != count:
                raise ValueError(
                    f"{folder / MANIFEST} counts {told[name]} {name} {what}, but {count} are "
                    "there; delete the manifest and gather again"
                )


class CachedSignals:
    """The cache as the trainer reads it: padded arrays by the index of a training document.

    `ids` are the ids of the training documents, `symbols` how many supervised symbols each has.
    Raises ValueError if one is missing or has another number of symbols in the cache.
    """

    def __init__(
        self, cache: ByteCache, ids: Sequence[str], symbols: Sequence[int] | np.ndarray
    ) -> None:
        self._cache, self._ids = cache, ids
        expected_D, found_D = np.asarray(symbols, np.int64), cache.symbols(ids)
        for number in np.flatnonzero(found_D != expected_D).tolist():
            document, found = ids[number], int(found_D[number])
            if found < 0:
                raise ValueError(
                    f"document {document!r} is not in the byte cache in {cache.folder}; score the "
                    "teacher on these documents"
                )
            where = f"byte cache in {cache.folder}"
            check_count(document, int(expected_D[number]), found, where)

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
