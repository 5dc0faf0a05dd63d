"""Write a shard with the new column, gather it, and read it back: `use.py FOLDER`."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from bld.cache.gathering import write_manifest
from bld.cache.reading import ByteCache
from bld.cache.schema import StoredBytes, bits_of
from bld.cache.shards import Origin
from bld.cache.writing import score_part, score_shard
from bld.documents.document import make_document
from bld.documents.shards import write_splits
from bld.files import sha256_of, write_json
from bld.scoring.scorer import Scored
from bld.symbols import supervised_symbols

folder = Path(sys.argv[1])
corpus, cache, teacher = folder / "corpus", folder / "cache", folder / "teacher.json"
documents = [make_document(f"{n}", "text", [("text", "byte" * n)]) for n in range(1, 9)]
split = SimpleNamespace(fraction=1.0, shards=1, documents=None)
write_splits(documents, {"train": corpus}, {"train": split}, seed=0)
write_json(teacher, {})


def distributions(document):
    """The teacher: each byte is one of two symbols, with other probabilities in each document."""
    size = len(supervised_symbols(document.segments))
    probs_NS = np.zeros((size, 258))
    probs_NS[:, 32] = 1 / (1 + int(document.id))
    probs_NS[:, 97] = 1 - probs_NS[:, 32]
    with np.errstate(divide="ignore"):
        return np.log(probs_NS).astype(np.float32), np.zeros(size, np.float32)


def score(part):
    return score_part((Scored(one, *distributions(one), 1) for one in part), 0.999, 16)


shard = "00000-of-00001.parquet"
origin = Origin(sha256_of(corpus / shard), sha256_of(teacher), "step", {})
score_shard(cache / shard, corpus / shard, origin, folder / "parts", score)
write_manifest(cache, corpus, [teacher], {})

reader = ByteCache(cache, corpus)
for document in documents:
    p = 1 / (1 + int(document.id))
    expected = -p * np.log(p) - (1 - p) * np.log(1 - p)
    entropies = reader.read(document.id).entropy_N
    assert len(entropies) == len(supervised_symbols(document.segments))
    np.testing.assert_allclose(entropies, expected, rtol=2**-10)
print(f"bits per byte in the plan: {bits_of(StoredBytes, 'N')}")
