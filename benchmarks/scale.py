"""What ten thousand shards cost besides the models: the fourth part of `make bench`.

A synthetic corpus is written as a split of many shards and read back, scored by a stand-in for a
teacher, shard by shard, gathered into a byte cache, opened, and read at random, with 1,024 files
allowed. One table, each row a phase with more and more documents, written to
benchmarks/results/scale.json. `peak_mib`: the most memory in use, besides what was there before;
`open_files`: the most files that were open at once.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import Memory, timed
from table import print_table

from bld.cache.gathering import write_manifest
from bld.cache.reading import ByteCache, CachedSignals
from bld.cache.shards import Origin
from bld.cache.writing import ScoredPart, score_part, score_shard
from bld.config.settings import Split
from bld.documents.document import Document, make_document
from bld.documents.shards import read_split, write_splits
from bld.files import MANIFEST, read_manifest, sha256_of, write_json
from bld.scoring.scorer import Scored
from bld.symbols import TRIE_SYMBOLS, supervised_symbols

CPU = torch.device("cpu")
OPEN_FILES = 1024
COLUMNS = ("shards", "documents", "phase", "seconds", "peak_mib", "open_files")
LOOKED_UP = 2000
DRAWN = np.random.default_rng(0)
LOG_PROBS_NS = np.log(DRAWN.dirichlet(np.full(TRIE_SYMBOLS, 0.05), 64) + 1e-12).astype(np.float32)


def corpus(documents: int) -> Iterator[Document]:
    """Documents of some twenty bytes."""
    for number in range(documents):
        text = f"Document {number} of many."
        yield make_document(f"{number}", "text", [("text", text)])


def score(documents: Sequence[Document]) -> ScoredPart:
    """What a teacher of no weights says of every text."""

    def scored(document: Document) -> Scored:
        symbols = len(supervised_symbols(document.segments))
        return Scored(document, LOG_PROBS_NS[:symbols], np.zeros(symbols, np.float32), 1)

    return score_part(map(scored, documents), 0.999, 16)


class OpenFiles:
    """The most files that this process has had open at once, as another thread sees it."""

    def __init__(self) -> None:
        self.most = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count while the block runs."""
        done, self.most = threading.Event(), 0

        def count() -> None:
            while not done.wait(0.002):
                self.most = max(self.most, len(os.listdir("/proc/self/fd")))

        thread = threading.Thread(target=count)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def measure(folder: Path, shards: int, documents: int) -> Iterator[dict[str, Any]]:
    """The rows of so many documents in so many shards."""
    split, cache, teacher = folder / "split", folder / "cache", folder / "teacher.json"
    write_json(teacher, {})
    memory, files = Memory(CPU), OpenFiles()

    def row(phase: str, work: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
        before = memory.used()
        memory.reset_peak()
        with files.counted():
            result, seconds = timed(work, CPU)
        peak = memory.peak()
        return result, {
            "shards": shards,
            "documents": documents,
            "phase": phase,
            "seconds": round(seconds, 2),
            "peak_mib": peak - before if peak is not None and before is not None else None,
            "open_files": files.most,
        }

    def score_all() -> None:
        settings: dict[str, Any] = {}
        digest = sha256_of(teacher)
        for shard in read_manifest(split / MANIFEST)["shards"]:
            name = f"{shard['name']}.parquet"
            origin = Origin(shard["sha256"], digest, "step", settings)
            parts = folder / "parts" / shard["name"]
            score_shard(cache / name, split / name, origin, parts, score)

    def write_all() -> None:
        splits = {"train": Split(fraction=1.0, shards=shards)}
        write_splits(corpus(documents), {"train": split}, splits, 0)

    yield row("write", write_all)[1]
    ids, read = row("read", lambda: [document.id for document in read_split(split)])
    assert ids == [f"{number}" for number in range(documents)], "another order"
    yield read
    yield row("score", score_all)[1]
    yield row("gather", lambda: write_manifest(cache, split, [teacher], {}))[1]
    byte_cache, opened = row("open", lambda: ByteCache(cache, split))
    yield opened
    symbols = byte_cache.symbols(ids)
    signals, checked = row("check", lambda: CachedSignals(byte_cache, ids, symbols))
    yield checked
    some = DRAWN.integers(documents, size=min(documents, LOOKED_UP)).tolist()
    yield row("look up", lambda: [len(x.log_tail_N) for n in some for x in signals.read([n])])[1]


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--quick", action="store_true", help="100 shards, 1 and 10 documents each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/scale.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shards, times = (100, [1, 10]) if arguments.quick else (arguments.shards, arguments.times)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    allowed = 128 if arguments.quick else OPEN_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    rows: list[dict[str, Any]] = []
    for each in times:
        with tempfile.TemporaryDirectory() as folder:
            for found in measure(Path(folder), shards, shards * each):
                rows.append(found)
                print(found, flush=True)
    print_table(rows, COLUMNS)
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
