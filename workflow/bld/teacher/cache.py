"""The byte cache: the teacher's byte distributions on disk, once for every student.

Parquet shards beside those of the corpus, one row per document. A document's supervised symbols are
the bytes of its supervised segments, each segment followed by END; for each of them the cache keeps
the most probable symbols, their log-probabilities, the logarithm of the mass of all the others, and
the share of mass that the histories lost there. Rows are found by document id and symbol number
alone, so one cache serves every tokenizer.

Shape letters: N supervised symbols of a document, K symbols kept at most, F kept symbols of a whole
document, end to end.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bld.documents.parquet import open_parquet, record_batches
from bld.files import MANIFEST, read_manifest, sha256_of, write_json
from bld.tokenization.symbols import PAD

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("count", pa.int32()),
        ("kept", pa.list_(pa.uint16())),
        ("symbols", pa.list_(pa.uint16())),
        ("log_probs", pa.list_(pa.float16())),
        ("log_tail", pa.list_(pa.float16())),
        ("lost_mass", pa.list_(pa.float16())),
    ]
)
LISTS = ("kept", "symbols", "log_probs", "log_tail", "lost_mass")
ROW_GROUP_DOCUMENTS = 64


class Distributions(NamedTuple):
    """A document's byte distributions as they are kept.

    kept_N symbols each; symbols_F and log_probs_F end to end, the most probable first; log_tail_N
    is -inf where nothing is left over; lost_mass_N between 0 and 1.
    """

    kept_N: np.ndarray
    symbols_F: np.ndarray
    log_probs_F: np.ndarray
    log_tail_N: np.ndarray
    lost_mass_N: np.ndarray


def keep_most_probable(
    log_probs_NS: np.ndarray, lost_mass_N: np.ndarray, mass: float, at_most: int
) -> Distributions:
    """Keep the most probable symbols until they hold `mass`, `at_most` of them; the rest becomes
    the tail.

    `log_probs_NS`: normalised log-probabilities of every symbol.
    """
    order_NK = np.argsort(-log_probs_NS, axis=1, kind="stable")[:, :at_most]
    sorted_NK = np.take_along_axis(log_probs_NS, order_NK, axis=1).astype(np.float64)
    before_NK = np.cumsum(np.exp(sorted_NK), axis=1) - np.exp(sorted_NK)
    used_NK = (before_NK < mass) & np.isfinite(sorted_NK)
    rest = log_probs_NS.astype(np.float64)
    np.put_along_axis(rest, order_NK, np.where(used_NK, -np.inf, sorted_NK), axis=1)
    return Distributions(
        kept_N=used_NK.sum(1).astype(np.uint16),
        symbols_F=order_NK[used_NK].astype(np.uint16),
        log_probs_F=sorted_NK[used_NK].astype(np.float16),
        log_tail_N=np.logaddexp.reduce(rest, axis=1).astype(np.float16),
        lost_mass_N=lost_mass_N.astype(np.float16),
    )


def write_shard(
    path: Path, rows: Iterable[tuple[str, Distributions]], source: Path, key: str
) -> None:
    """Write one shard by rename.

    `source` is the shard of documents that was scored and `key` tells teacher and settings apart.
    """
    metadata = {"source_sha256": sha256_of(source), "key": key}
    partial = path.with_name(path.name + ".partial")
    schema = SCHEMA.with_metadata(metadata)
    with pq.ParquetWriter(partial, schema, compression="zstd", write_statistics=False) as writer:
        group: list[dict[str, Any]] = []
        for document, found in rows:
            group.append(
                {"id": document, "count": len(found.kept_N), "kept": found.kept_N}
                | {"symbols": found.symbols_F, "log_probs": found.log_probs_F}
                | {"log_tail": found.log_tail_N, "lost_mass": found.lost_mass_N}
            )
            if len(group) == ROW_GROUP_DOCUMENTS:
                writer.write_table(pa.Table.from_pylist(group, schema))
                group = []
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema))
    os.replace(partial, path)


def write_manifest(folder: Path, corpus: Path, settings: dict[str, Any]) -> None:
    """Check that the shards in `folder` are whole and belong to the split in `corpus`, and say so
    in manifest.json.

    Raises ValueError that names the shard and what does not fit.
    """
    documents = read_manifest(corpus / MANIFEST)
    shards, symbols, size = [], 0, 0
    key = None
    for source in documents["shards"]:
        path = folder / f"{source['name']}.parquet"
        with open_parquet(path) as file:
            rows = file.metadata.num_rows
            found = {k.decode(): v.decode() for k, v in (file.schema_arrow.metadata or {}).items()}
        if found.get("source_sha256") != source["sha256"]:
            raise ValueError(
                f"{path} was scored from other documents than {corpus / source['name']}.parquet holds now; "
                "delete it and score again"
            )
        if rows != source["documents"]:
            raise ValueError(
                f"{path} holds {rows} documents, expected {source['documents']}; delete it and score again"
            )
        if key not in (None, found["key"]):
            raise ValueError(
                f"{path} was scored by another teacher or with other settings than the shards before "
                f"it; delete all shards in {folder} and score again"
            )
        key = found["key"]
        shards.append({"name": source["name"], "documents": rows, "sha256": sha256_of(path)})
        counts = (b.column("count") for b in record_batches(path, columns=["count"]))
        symbols += sum(sum(column.to_pylist()) for column in counts)
        size += path.stat().st_size
    manifest = {
        "documents": documents["documents"],
        "symbols": symbols,
        "bytes_on_disk": size,
        "content_sha256": documents["content_sha256"],
        "key": key,
        "shards": shards,
        **settings,
    }
    write_json(folder / MANIFEST, manifest)


class ByteCache:
    """Reads a cache by document id.

    Raises ValueError at once if the cache was not made from the documents in `corpus` (the folder
    of a split), is not whole, or a shard is not the one that its manifest names.
    """

    def __init__(self, folder: Path, corpus: Path) -> None:
        manifest = read_manifest(folder / MANIFEST)
        expected = read_manifest(corpus / MANIFEST)["content_sha256"]
        if manifest.get("content_sha256") != expected:
            raise ValueError(
                f"the byte cache in {folder} was made from other documents than {corpus} holds (content "
                f"{manifest.get('content_sha256')} there, {expected} here); score the teacher on these documents"
            )
        self.folder = folder
        self._batches = [batch for shard in manifest["shards"] for batch in self._read(shard)]
        self._place = {
            document: (batch, row)
            for batch in self._batches
            for row, document in enumerate(batch.column("id").to_pylist())
        }

    @property
    def most_kept(self) -> int:
        """The most symbols that any distribution keeps."""
        widest = (pc.max(batch.column("kept").flatten()).as_py() or 0 for batch in self._batches)
        return max(widest, default=0)

    def _read(self, shard: dict[str, Any]) -> list[pa.RecordBatch]:
        path = self.folder / f"{shard['name']}.parquet"
        open_parquet(path).close()
        if sha256_of(path) != shard["sha256"]:
            raise ValueError(
                f"{path} is not the shard that its manifest names (another sha256); delete both and score again"
            )
        return list(record_batches(path))

    def read(self, document: str) -> Distributions:
        """The distributions of a document; raises KeyError if it is not in the cache."""
        batch, row = self._place[document]
        lists = (batch.column(name)[row].values for name in LISTS)
        return Distributions(*(values.to_numpy(zero_copy_only=False) for values in lists))


class CachedSignals:
    """The cache as the trainer reads it: padded arrays by the index of a training document.

    `ids` are the ids of the training documents, `symbols` how many supervised symbols each has.
    Raises ValueError if one is missing or has another number of symbols in the cache.
    """

    def __init__(self, cache: ByteCache, ids: Sequence[str], symbols: Sequence[int]) -> None:
        self._cache, self._ids, self._width = cache, ids, cache.most_kept
        for document, expected in zip(ids, symbols, strict=True):
            try:
                found = len(cache.read(document).kept_N)
            except KeyError:
                raise ValueError(
                    f"document {document!r} is not in the byte cache in {cache.folder}; score the "
                    "teacher on these documents"
                ) from None
            if found != expected:
                raise ValueError(
                    f"document {document!r} has {expected} supervised symbols but {found} in the byte "
                    f"cache in {cache.folder}; score the teacher on these documents"
                )

    def read(self, document: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Symbols [N, K] (PAD where unused), log-probabilities [N, K] (-inf where unused) and log
        tail mass [N]."""
        return padded(self._cache.read(self._ids[document]), self._width)


def padded(found: Distributions, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A document's distributions as rectangular arrays with K = `width`."""
    used_NK = np.arange(width) < found.kept_N[:, None]
    symbols_NK = np.full(used_NK.shape, PAD, np.int64)
    log_probs_NK = np.full(used_NK.shape, -np.inf, np.float32)
    symbols_NK[used_NK] = found.symbols_F
    log_probs_NK[used_NK] = found.log_probs_F
    return symbols_NK, log_probs_NK, found.log_tail_N.astype(np.float32)
