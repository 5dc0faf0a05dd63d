"""How far the teachers' scoring is, by the parts of its shards; see `teacher.resume`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pyarrow.parquet import read_metadata

from bld.watching.trainings import folders_in, modified


class Scored(NamedTuple):
    """The scoring of a split. `name`: teacher, corpus and split; `seen`: when something of it was
    last written, in seconds of the epoch."""

    name: str
    documents_done: int
    documents: int
    seen: float


def find_scorings(checkpoints: Path, results: Path) -> list[Scored]:
    """The splits of which something was scored, by name."""
    splits = (
        _scored(split, results / "corpora" / corpus.name / split.name)
        for teacher in folders_in(checkpoints / "score_teacher")
        for corpus in folders_in(teacher)
        for split in folders_in(corpus)
    )
    return [scored for scored in splits if scored.documents_done]


def _scored(split: Path, corpus: Path) -> Scored:
    shards = _tables(corpus)
    done = [path for shard in shards for path in _done(split, shard)]
    name = "/".join(split.parts[-3:])
    seen = max(map(modified, done), default=0.0)
    return Scored(name, sum(map(_rows, done)), sum(map(_rows, shards)), seen)


def _done(split: Path, shard: Path) -> list[Path]:
    """The parts of a shard that is being scored, or the shard that is left when it is done."""
    sets = [_tables(origin) for origin in folders_in(split / shard.stem)]
    parts = max(sets, key=lambda tables: max(map(modified, tables), default=0.0), default=[])
    whole = split / shard.name
    return parts or ([whole] if modified(whole) else [])


def _tables(folder: Path) -> list[Path]:
    """The tables in a folder; they appear by rename, so that each is whole."""
    return [path for path in folders_in(folder) if path.suffix == ".parquet"]


def _rows(table: Path) -> int:
    try:
        return read_metadata(table).num_rows
    except (OSError, ValueError):
        return 0
