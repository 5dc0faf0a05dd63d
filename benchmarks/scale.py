"""What ten thousand shards cost besides the models: the fourth part of `make bench`.

A synthetic corpus is written as a split of many shards and read back, scored by a stand-in for a
teacher, shard by shard, gathered into a byte cache, opened, and read at random, with 1,024 files
allowed; then it is rendered, and a tiny student is trained on it from that cache, for one step and
for ten. One table, each row a phase with more and more documents, written to
benchmarks/results/scale.json. `peak_mib`: the most memory in use, besides what was there before;
`open_files`: the most files that were open at once; `bytes_per_token`: what a phase has left on
disk, for each of the student's tokens.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import Memory, timed
from subjects import SHAPES, tiny_vocabulary
from table import print_table

from bld.cache.gathering import write_manifest
from bld.cache.reading import ByteCache, CachedSignals
from bld.cache.shards import Origin
from bld.cache.writing import ScoredPart, score_part, score_shard
from bld.config.settings import Rendering, Split, Training
from bld.documents.document import Document, make_document
from bld.documents.rendering import render_split
from bld.documents.renderings import open_rendering
from bld.documents.shards import read_split, write_splits
from bld.files import MANIFEST, read_manifest, sha256_of, write_json
from bld.folders import new_folder
from bld.scoring.scorer import Scored
from bld.symbols import TRIE_SYMBOLS, supervised_symbols
from bld.training.batches import Batches
from bld.training.heads import TRAINED_HEADS
from bld.training.loop import train
from bld.training.objectives.bld import Bld
from bld.training.scratch import new_model
from bld.training.trainee import Trainee

CPU = torch.device("cpu")
OPEN_FILES = 1024
COLUMNS = ("shards", "documents", "phase", "seconds", "peak_mib", "open_files", "bytes_per_token")
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


Measured = tuple[Any, dict[str, Any]]
"""What a piece of work gives, and its row of the table."""


class Phases:
    """What is done with so many documents in so many shards, in files of a folder of its own."""

    def __init__(self, folder: Path, shards: int, documents: int) -> None:
        self._folder, self._shards, self._documents = folder, shards, documents
        self._split, self._cache = folder / "split", folder / "cache"
        self._memory, self._files = Memory(CPU), OpenFiles()

    def _row(self, phase: str, work: Callable[[], Any]) -> Measured:
        before = self._memory.used()
        self._memory.reset_peak()
        with self._files.counted():
            result, seconds = timed(work, CPU)
        peak = self._memory.peak()
        return result, {
            "shards": self._shards,
            "documents": self._documents,
            "phase": phase,
            "seconds": round(seconds, 2),
            "peak_mib": peak - before if peak is not None and before is not None else None,
            "open_files": self._files.most,
            "bytes_per_token": None,
        }

    def stored(self) -> Iterator[dict[str, Any]]:
        """The rows of the corpus and of its byte cache."""
        teacher, ids = self._folder / "teacher.json", [f"{n}" for n in range(self._documents)]
        write_json(teacher, {})
        yield self._row("write", self._write)[1]
        found, read = self._row("read", lambda: [d.id for d in read_split(self._split)])
        assert found == ids, "another order"
        yield read
        yield self._row("score", lambda: self._score(sha256_of(teacher)))[1]
        yield self._row("gather", lambda: write_manifest(self._cache, self._split, [teacher], {}))[
            1
        ]
        cache, opened = self._row("open", lambda: ByteCache(self._cache, self._split))
        yield opened
        symbols = cache.symbols(ids)
        signals, checked = self._row("check", lambda: CachedSignals(cache, ids, symbols))
        yield checked
        some = DRAWN.integers(self._documents, size=min(self._documents, LOOKED_UP)).tolist()
        yield self._row("look up", lambda: [len(signals.read([number])) for number in some])[1]

    def _write(self) -> None:
        splits = {"train": Split(fraction=1.0, shards=self._shards)}
        write_splits(corpus(self._documents), {"train": self._split}, splits, 0)

    def _score(self, teacher_sha256: str) -> None:
        for shard in read_manifest(self._split / MANIFEST)["shards"]:
            name = f"{shard['name']}.parquet"
            origin = Origin(shard["sha256"], teacher_sha256, "step", {})
            parts = self._folder / "parts" / shard["name"]
            score_shard(self._cache / name, self._split / name, origin, parts, score)

    def trained(self) -> Iterator[dict[str, Any]]:
        """The rows of a student that learns from them."""
        model, rendered, rendering = self._folder / "model", self._folder / "rendered", Rendering()
        tokenizer = tiny_vocabulary()
        with new_folder(model, {}) as partial:
            tokenizer.save_pretrained(partial)

        def train_for(steps: int) -> None:
            documents = open_rendering(rendered, self._split, model, rendering)
            cache = ByteCache(self._cache, self._split)
            signals = CachedSignals(cache, documents.ids, documents.sizes("symbols"))
            lm = new_model(SHAPES["tiny"], tokenizer, 0)
            head = TRAINED_HEADS["linear"](lm.config.hidden_size, 0)
            training = Training(steps=steps, sequence_length=256, batch_size=8, micro_batch_size=8)
            data = Batches(documents, signals, has_unspelt=documents.has_unspelt)
            train(Trainee(lm, head, Bld()), data, training, 0, "bench")

        done = self._row("render", lambda: render_split(self._split, model, rendering, rendered))
        told = read_manifest(rendered / MANIFEST)
        yield done[1] | {"bytes_per_token": round(told["bytes"] / told["tokens"], 1)}
        yield self._row("train a step", lambda: train_for(1))[1]
        yield self._row("train 10 steps", lambda: train_for(10))[1]


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
            phases = Phases(Path(folder), shards, shards * each)
            for found in chain(phases.stored(), phases.trained()):
                rows.append(found)
                print(found, flush=True)
    print_table(rows, COLUMNS)
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
