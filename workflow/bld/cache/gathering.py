"""Gathering a byte cache: are all shards there, whole, of one teacher and of these documents? Then
manifest.json says so, with counts over it.

No row is read: shards tell of themselves, and what they hold has the digest that the record of
their scoring says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bld.cache.figures import Figures
from bld.cache.places import PLACES, Places, in_order, places_in, write_places
from bld.cache.schema import FORMAT
from bld.cache.shards import (
    DOCUMENTS,
    FIGURES,
    ORIGIN,
    TAIL_SHAPE,
    About,
    check_origin,
    read_about,
)
from bld.cache.tails import read_shape
from bld.documents.parquet import open_parquet, record_batches
from bld.files import MANIFEST, RECORD, read_manifest, sha256_of, sha256_of_all, write_json


def write_manifest(
    folder: Path, corpus: Path, teacher: Sequence[Path], settings: Mapping[str, Any]
) -> dict[Path, str]:
    """Check that the shards in `folder` are whole, of this teacher (the manifests of its models)
    under these settings, and of the split in `corpus`; then write where their documents are, and
    manifest.json. Returns the shards' digests.

    Raises ValueError that names the shard and what does not fit.
    """
    documents = read_manifest(corpus / MANIFEST)
    sources = [read_manifest(path).get("source") for path in teacher]
    expected = {"teacher_sha256": sha256_of_all(teacher), "settings": dict(settings)}
    figures, places, shards = Figures(), list[Places](), []
    steps: dict[str, Path] = {}
    for source in documents["shards"]:
        path = folder / f"{source['name']}.parquet"
        about = read_about(path)
        step = _check_origin(path, about, {**expected, "documents_sha256": source["sha256"]})
        steps.setdefault(step, path)
        own = _told(path, about, len(places))
        places.append(own)
        if len(own.key) != source["documents"]:
            raise ValueError(
                f"{path}: expected {source['documents']} documents, found {len(own.key)}; delete "
                "it and score again"
            )
        of_shard = Figures(**json.loads(about.metadata[FIGURES]))
        figures += of_shard
        counts = {"documents": of_shard.documents, "symbols": of_shard.symbols}
        size = {"bytes": path.stat().st_size, "sha256": _digest(path)}
        shards.append({"name": source["name"], **counts, **size})
    if len(steps) > 1:
        first, second, *_ = steps.values()
        raise ValueError(
            f"{first} and {second} were scored by two versions of the code; delete all shards in "
            f"{folder} and score again"
        )
    all_places = in_order(places)
    _check_ids([folder / f"{shard['name']}.parquet" for shard in shards], all_places)
    write_places(folder / PLACES, all_places)
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
        "places": {
            "bytes": (folder / PLACES).stat().st_size,
            "sha256": sha256_of(folder / PLACES),
        },
    }
    write_json(folder / MANIFEST, manifest)
    return {folder / f"{shard['name']}.parquet": shard["sha256"] for shard in shards}


def _check_origin(path: Path, about: About, expected: Mapping[str, Any]) -> str:
    """The step that scored a shard of the expected origin."""
    origin = json.loads(about.metadata[ORIGIN])
    check_origin(path, origin, expected)
    try:
        read_shape(about.metadata[TAIL_SHAPE])
    except ValueError as error:
        raise ValueError(f"{path}: {error}; delete it and score again") from error
    return str(origin["step"])


def _told(path: Path, about: About, number: int) -> Places:
    try:
        return places_in(number, about.metadata[DOCUMENTS], about.rows_G)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; delete it and score again") from error


def _digest(path: Path) -> str:
    """The digest of a shard, which is that in the record of its scoring; without a record, as in a
    program of the user's own, all of it is read, which finds damage too."""
    found, record = sha256_of(path), path.with_suffix(RECORD)
    if not record.exists():
        for _ in record_batches(path):
            pass
        return found
    outputs = json.loads(record.read_text(encoding="utf-8"))["outputs"].items()
    expected = [made["sha256"] for name, made in outputs if Path(name).name == path.name]
    if expected != [found]:
        raise ValueError(
            f"{path} is not what its scoring has written: expected sha256 {', '.join(expected)} as "
            f"{record} says, found {found}; delete both and score again"
        )
    return found


def _check_ids(paths: Sequence[Path], places: Places) -> None:
    (same,) = np.nonzero(places.key[1:] == places.key[:-1])
    for number in same.tolist():
        first, second = (_id(paths, places, x) for x in (number, number + 1))
        raise ValueError(
            f"{paths[places.shard[number + 1]]} holds a second document {second!r}, beside "
            f"{first!r} in {paths[places.shard[number]]}; give the documents of the corpus ids of "
            "their own and score again"
        )


def _id(paths: Sequence[Path], places: Places, number: int) -> str:
    with open_parquet(paths[places.shard[number]]) as file:
        ids = file.read_row_group(int(places.group[number]), columns=["id"]).column("id")
    return str(ids[int(places.row[number])].as_py())
