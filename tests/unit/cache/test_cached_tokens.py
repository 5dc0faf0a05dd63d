"""The teacher's tokens in the cache, beside the bytes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from bld.cache.gathering import write_manifest
from bld.cache.reading import ByteCache
from bld.cache.shards import ORIGIN, TAIL_SHAPE, Origin, write_tables
from bld.cache.writing import score_part
from bld.documents.shards import read_split, write_splits
from bld.files import MANIFEST, sha256_of, write_json
from bld.scoring.scorer import Scored
from bld.scoring.token_scores import TokenScores
from bld.symbols import supervised_symbols

NAME = "00000-of-00001.parquet"
KEPT = 3


def rows_of(document) -> TokenScores:
    """Random rows of a document, one for every third symbol."""
    random = np.random.default_rng(sum(document.id.encode()))
    symbol_U = np.arange(0, len(supervised_symbols(document.segments)), 3, dtype=np.int32)
    size = len(symbol_U)
    falling = np.log(-np.sort(-random.dirichlet(np.ones(KEPT + 1), size), axis=1))
    return TokenScores(
        symbol_U=symbol_U,
        count_U=np.full(size, 3, np.int32),
        token_U=random.integers(0, 200_000, size, np.int32),
        log_prob_U=-random.random(size).astype(np.float32),
        ids_UK=random.integers(0, 200_000, (size, KEPT), np.int32),
        log_probs_UK=falling[:, :KEPT].astype(np.float32),
        log_tail_U=falling[:, KEPT].astype(np.float32),
    )


def scored(document, with_tokens):
    random = np.random.default_rng(len(document.content))
    symbols = len(supervised_symbols(document.segments))
    log_probs = np.log(random.dirichlet(np.ones(258), symbols)).astype(np.float32)
    tokens = rows_of(document) if with_tokens else None
    return Scored(document, log_probs, random.random(symbols, np.float32), 1, tokens)


@pytest.fixture
def caches(tmp_path, documents):
    """The folders of a cache with tokens and of one without, and that of their documents."""
    corpus, teacher = tmp_path / "corpus", tmp_path / "teacher.json"
    split = SimpleNamespace(fraction=1.0, shards=1, documents=None)
    write_splits(documents, {"train": corpus}, {"train": split}, seed=0)
    write_json(teacher, {})
    origin = Origin(sha256_of(corpus / NAME), sha256_of(teacher), "step", {})
    for name in ("tokens", "bytes"):
        part = score_part((scored(d, name == "tokens") for d in read_split(corpus)), 0.9, 16)
        metadata = {ORIGIN: origin.to_json(), TAIL_SHAPE: part.tails.shape()}
        write_tables(tmp_path / name / NAME, [part.table], metadata)
        write_manifest(tmp_path / name, corpus, [teacher], {})
    return tmp_path / "tokens", tmp_path / "bytes", corpus


def test_tokens_are_read_as_they_were_scored_up_to_float16(caches, documents):
    with_tokens, _, corpus = caches
    cache = ByteCache(with_tokens, corpus)
    for document in documents[::-1]:
        found, expected = cache.read_padded(document.id).tokens, rows_of(document)
        for ours, theirs in zip(found[:5], expected[:5], strict=True):
            np.testing.assert_array_equal(ours, theirs)
        for ours, theirs in zip(found[5:], expected[5:], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2**-11, atol=2e-3)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == theirs.dtype and ours.shape == theirs.shape


def test_bytes_are_kept_the_same_with_and_without_tokens(caches, documents):
    both, plain = (ByteCache(folder, caches[2]) for folder in caches[:2])
    for document in documents:
        *ours, tokens = both.read_padded(document.id)
        *theirs, none = plain.read_padded(document.id)
        assert tokens is not None and none is None
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
        for one, other in zip(both.read(document.id), plain.read(document.id), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_manifest_tells_how_many_tokens_are_kept_at_most(caches):
    found = [json.loads((folder / MANIFEST).read_text()) for folder in caches[:2]]
    assert [manifest["most_kept_tokens"] for manifest in found] == [KEPT, 0]


def test_a_manifest_that_lies_about_how_many_tokens_are_kept_is_refused_when_it_shows(caches):
    folder, _, corpus = caches
    manifest = json.loads((folder / MANIFEST).read_text())
    write_json(folder / MANIFEST, manifest | {"most_kept_tokens": 2})
    cache = ByteCache(folder, corpus)
    with pytest.raises(ValueError, match=r"most_kept_tokens is 2, but 3 .* document 'short'"):
        cache.read_padded("short")
