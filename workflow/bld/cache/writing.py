"""Scoring a shard in parts, so that little is lost when the job is killed.

A part is some consecutive documents, and they are scored together: what shares a forward pass never
depends on where a run was interrupted. Each part is a file by rename in a folder that is named by
all that the scores depend on; the shard is put together from them. Whatever moment a run is killed
at, the next ends with the same bytes in the shard as one that was never interrupted.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from bld.cache.shards import ORIGIN, TAIL_SHAPE, Origin, Row, read_about, table_of, write_tables
from bld.cache.tails import TailSums
from bld.cache.top_k import keep_most_probable, keep_tokens
from bld.documents.document import Document
from bld.documents.parquet import open_parquet
from bld.documents.shards import read_shard
from bld.folders import hard_link
from bld.progress import progress
from bld.scoring.scorer import Scored

PART_DOCUMENTS = 128
PART_BYTES = 256 << 10
TAIL_SUMS = "tail_sums"


class ScoredPart(NamedTuple):
    """Scored documents: their rows, and the sums over their tails."""

    table: pa.Table
    tails: TailSums


def score_part(scored: Iterable[Scored], top_p: float, top_k: int) -> ScoredPart:
    """What is stored of a part's documents: the symbols that hold `top_p`, at most `top_k`."""
    rows, tails = [], TailSums()
    for one in scored:
        stored = keep_most_probable(one.log_probs_NS, one.lost_N, top_p, top_k, one.untaught)
        tails.add(one.log_probs_NS, stored)
        tokens = keep_tokens(one.tokens) if one.tokens else None
        rows.append(Row(one.document.id, one.windows, stored, tokens))
    return ScoredPart(table_of(rows), tails)


def score_shard(
    shard: Path,
    documents: Path,
    origin: Origin,
    checkpoints: Path,
    score: Callable[[Sequence[Document]], ScoredPart],
    saved: Callable[[], None] = lambda: None,
    part_documents: int = PART_DOCUMENTS,
) -> None:
    """Write `shard` from the `documents` of another shard.

    `checkpoints` is a folder for this shard alone: parts are put there and taken from there, and it
    is removed at the end; `saved` is called after each. Parts of another origin are ignored. Beside
    it a hard link to the shard is left, which takes no room: Snakemake, if it was killed, may ask
    again for a shard that was finished since.
    """
    finished = checkpoints.with_name(shard.name)
    if is_finished(shard, origin, checkpoints):
        print(f"scored before with the same settings, code and inputs: taken from {finished}")
        hard_link(finished, shard)
        return
    parts = _Parts(checkpoints / origin.fingerprint, documents, score, saved, part_documents)
    with open_parquet(documents) as file:
        total = file.metadata.num_rows
    tails = TailSums()
    with progress("score", total, "documents") as bar:
        for part in parts:
            tails += part.tails
            bar.update(part.table.num_rows)
    print(f"{parts.scored + parts.reused} parts, {parts.reused} of them from an interrupted run")
    metadata = {ORIGIN: origin.to_json(), TAIL_SHAPE: tails.shape()}
    write_tables(shard, (part.table for part in parts), metadata)
    shutil.rmtree(checkpoints, ignore_errors=True)
    with suppress(OSError):  # where there are no hard links, nothing is kept
        hard_link(shard, finished)


def is_finished(shard: Path, origin: Origin, checkpoints: Path) -> bool:
    """Whether `score_shard` has written this shard before, of the same origin."""
    path = checkpoints.with_name(shard.name)
    try:
        return path.exists() and read_about(path).metadata[ORIGIN] == origin.to_json()
    except ValueError:
        return False


class _Parts:
    """The parts of a shard in order, as often as wanted; one that is not there yet is scored."""

    def __init__(
        self,
        folder: Path,
        documents: Path,
        score: Callable[[Sequence[Document]], ScoredPart],
        saved: Callable[[], None],
        part_documents: int,
    ) -> None:
        self._folder, self._documents, self._score = folder, documents, score
        self._when_saved = saved
        self._part_documents = part_documents
        self.scored = self.reused = 0

    def __iter__(self) -> Iterator[ScoredPart]:
        self.scored = self.reused = 0
        parts = parts_of(read_shard(self._documents), self._part_documents)
        for number, documents in enumerate(parts):
            path = self._folder / f"{number:05d}.parquet"
            part = _read_part(path, documents)
            if part is None:
                part = self._score(documents)
                # Another job may have finished the same shard and removed the folder of parts.
                with suppress(FileNotFoundError):
                    write_tables(path, [part.table], {TAIL_SUMS: part.tails.packed()})
                    self._when_saved()
                self.scored += 1
            else:
                self.reused += 1
            yield part


def parts_of(
    documents: Iterable[Document], at_most: int = PART_DOCUMENTS
) -> Iterator[list[Document]]:
    """Consecutive documents, `at_most` and no more once they hold PART_BYTES."""
    part, size = [], 0
    for document in documents:
        part.append(document)
        size += len(document.content)
        if len(part) == at_most or size >= PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _read_part(path: Path, documents: Sequence[Document]) -> ScoredPart | None:
    """A part that is there already and whole."""
    if not path.exists():
        return None
    try:
        with open_parquet(path) as file:
            table = file.read(use_threads=False)
            tails = TailSums.unpacked(file.metadata.metadata[TAIL_SUMS.encode()].decode())
    except (ValueError, OSError) as error:
        print(f"{path} is damaged, its documents are scored again: {error}")
        return None
    assert table.column("id").to_pylist() == [document.id for document in documents]
    return ScoredPart(table, tails)
