"""Gathering a byte cache: are all shards there, whole, of one teacher and of these documents? Then
manifest.json says so, with counts over it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bld.cache.schema import FORMAT, Stored, StoredBytes, StoredTokens, columns_of
from bld.cache.shards import ORIGIN, TAIL_SHAPE, check_origin, read_metadata
from bld.cache.tails import read_shape
from bld.documents.parquet import record_batches
from bld.files import MANIFEST, read_manifest, sha256_of, sha256_of_all, write_json


@dataclass
class _Figures:
    """What is counted over the rows of a cache."""

    documents: int = 0
    symbols: int = 0
    documents_in_windows: int = 0
    kept: int = 0
    most_kept: int = 0
    most_kept_tokens: int = 0
    lost_mass: float = 0.0
    largest_lost_mass: float = 0.0

    def count(self, path: Path) -> tuple[int, int]:
        """Count a shard in; returns its documents and symbols."""
        before = self.documents, self.symbols
        for batch in record_batches(path):  # of all columns, since reading finds damage
            count, windows = (batch.column(name).to_numpy() for name in ("count", "windows"))
            stored, tokens = _stored(StoredBytes, batch), _stored(StoredTokens, batch)
            self.documents += len(count)
            self.symbols += int(count.sum())
            self.documents_in_windows += int((windows > 1).sum())
            lost_mass_N, most_tokens = stored.lost_mass_N, int(tokens.kept_U.max(initial=0))
            self.kept += int(stored.kept_N.sum())
            self.most_kept = max(self.most_kept, int(stored.kept_N.max(initial=0)))
            self.most_kept_tokens = max(self.most_kept_tokens, most_tokens)
            self.lost_mass += float(lost_mass_N.sum(dtype=np.float64))
            self.largest_lost_mass = max(self.largest_lost_mass, float(lost_mass_N.max(initial=0)))
        return self.documents - before[0], self.symbols - before[1]

    def summary(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return {
            "documents": self.documents,
            "symbols": self.symbols,
            "documents_in_windows": self.documents_in_windows,
            "most_kept": self.most_kept,
            "most_kept_tokens": self.most_kept_tokens,
            "mean_kept": self.kept / max(1, self.symbols),
            "mean_lost_mass": self.lost_mass / max(1, self.symbols),
            "largest_lost_mass": self.largest_lost_mass,
        }


def _stored(record: type[Stored], batch: pa.RecordBatch) -> Stored:
    """A record of the documents of a batch, end to end."""
    columns = columns_of(record).items()
    return record(**{f: batch.column(c.name).flatten().to_numpy() for f, c in columns})


def write_manifest(
    folder: Path, corpus: Path, teacher: Sequence[Path], settings: Mapping[str, Any]
) -> dict[Path, str]:
    """Check that the shards in `folder` are whole, of this teacher (the manifests of its models)
    under these settings, and of the split in `corpus`; then write manifest.json. Returns the
    shards' digests.

    Raises ValueError that names the shard and what does not fit.
    """
    documents = read_manifest(corpus / MANIFEST)
    sources = [read_manifest(path).get("source") for path in teacher]
    expected = {"teacher_sha256": sha256_of_all(teacher), "settings": dict(settings)}
    figures, shards = _Figures(), []
    steps: dict[str, Path] = {}
    for source in documents["shards"]:
        path = folder / f"{source['name']}.parquet"
        step = _check_origin(path, {**expected, "documents_sha256": source["sha256"]})
        steps.setdefault(step, path)
        rows, symbols = figures.count(path)
        if rows != source["documents"]:
            raise ValueError(
                f"{path}: expected {source['documents']} documents, found {rows}; delete it and "
                "score again"
            )
        size = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        shards.append({"name": source["name"], "documents": rows, "symbols": symbols, **size})
    if len(steps) > 1:
        first, second, *_ = steps.values()
        raise ValueError(
            f"{first} and {second} were scored by two versions of the code; delete all shards in "
            f"{folder} and score again"
        )
    on_disk, supervised = sum(shard["bytes"] for shard in shards), documents["supervised_bytes"]
    manifest = {
        "format": FORMAT,
        **figures.summary(),
        "bytes_on_disk": on_disk,
        "bytes_per_supervised_byte": on_disk / supervised if supervised else None,
        "content_sha256": documents["content_sha256"],
        "teacher_sha256": expected["teacher_sha256"],
        "teacher_sources": sources,
        "settings": expected["settings"],
        "shards": shards,
    }
    write_json(folder / MANIFEST, manifest)
    return {folder / f"{shard['name']}.parquet": shard["sha256"] for shard in shards}


def _check_origin(path: Path, expected: Mapping[str, Any]) -> str:
    """The step that scored a shard of the expected origin."""
    metadata = read_metadata(path)
    origin = json.loads(metadata[ORIGIN])
    check_origin(path, origin, expected)
    try:
        read_shape(metadata[TAIL_SHAPE])
    except ValueError as error:
        raise ValueError(f"{path}: {error}; delete it and score again") from error
    return str(origin["step"])
