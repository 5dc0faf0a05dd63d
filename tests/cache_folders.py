"""A byte cache of two shards, scored by a teacher that draws its distributions."""

from types import SimpleNamespace

import numpy as np

from bld.cache.gathering import write_manifest
from bld.cache.shards import ORIGIN, TAIL_SHAPE, Origin, Row, table_of, write_tables
from bld.cache.tails import TailSums
from bld.cache.top_k import keep_most_probable
from bld.documents.shards import read_shard, write_splits
from bld.files import sha256_of
from bld.symbols import supervised_symbols

NAMES = ["00000-of-00002", "00001-of-00002"]
SETTINGS = {"scoring": {"top_p": 0.9, "histories": "prefix"}, "reading": {}}


def dense(document) -> tuple[np.ndarray, np.ndarray]:
    """Random distributions of a document's symbols; a third of the symbols is impossible."""
    random = np.random.default_rng(sum(document.id.encode()))
    size = (len(supervised_symbols(document.segments)), 258)
    logits = 3 * random.standard_normal(size)
    logits[random.random(size) < 1 / 3] = -np.inf
    log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return log_probs.astype(np.float32), random.random(size[0]).astype(np.float32)


def write_documents(folder, documents):
    split = SimpleNamespace(fraction=1.0, shards=2, documents=None)
    write_splits(documents, {"train": folder}, {"train": split}, seed=0)


def score(corpus, folder, name, mass=0.9, at_most=16, documents=None, **origin):
    source = corpus / f"{name}.parquet"
    rows, tails = [], TailSums()
    for document in documents or read_shard(source):
        kept = keep_most_probable(*dense(document), mass, at_most)
        tails.add(dense(document)[0], kept)
        rows.append(Row(document.id, 1 + (document.id == "long"), kept))
    about = {
        "documents_sha256": sha256_of(source),
        "teacher_sha256": sha256_of(teacher_of(corpus)),
        "step": "step",
        "settings": SETTINGS,
    }
    metadata = {ORIGIN: Origin(**(about | origin)).to_json(), TAIL_SHAPE: tails.shape()}
    write_tables(folder / f"{name}.parquet", [table_of(rows)], metadata)


def teacher_of(corpus):
    return corpus.parent / "teacher.json"


def gather(folder, corpus, settings=SETTINGS):
    write_manifest(folder, corpus, [teacher_of(corpus)], settings)
