import json
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.documents.document import make_document
from bld.documents.shards import read_shard, write_splits
from bld.teacher.cache import (
    ByteCache,
    CachedSignals,
    keep_most_probable,
    write_manifest,
    write_shard,
)
from bld.tokenization.symbols import PAD, supervised_symbols

NAMES = ["00000-of-00002", "00001-of-00002"]


def dense(document) -> tuple[np.ndarray, np.ndarray]:
    """Random distributions of a document's symbols; a third of the symbols is impossible."""
    random = np.random.default_rng(sum(document.id.encode()))
    size = (len(supervised_symbols(document.segments)), 258)
    logits = 3 * random.standard_normal(size)
    logits[random.random(size) < 1 / 3] = -np.inf
    log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return log_probs.astype(np.float32), random.random(size[0]).astype(np.float32)


def write_documents(folder, documents):
    split = SimpleNamespace(share=1.0, shards=2, documents=None)
    write_splits(documents, {"train": folder}, {"train": split}, seed=0)


def score(corpus, folder, name, mass=0.9, at_most=16, key="teacher"):
    source = corpus / f"{name}.parquet"
    rows = ((d.id, keep_most_probable(*dense(d), mass, at_most)) for d in read_shard(source))
    folder.mkdir(exist_ok=True)
    write_shard(folder / f"{name}.parquet", rows, source, key)


@pytest.fixture
def corpus(tmp_path, documents):
    write_documents(tmp_path / "corpus", documents)
    return tmp_path / "corpus"


@pytest.fixture
def cache(tmp_path, corpus):
    """The folder of a whole cache."""
    for name in NAMES:
        score(corpus, tmp_path / "cache", name)
    write_manifest(tmp_path / "cache", corpus, {"scoring": {"keep_mass": 0.9}})
    return tmp_path / "cache"


@given(st.integers(0, 2**32), st.sampled_from([0.1, 0.5, 0.9, 0.999, 1.0]), st.integers(1, 20))
@settings(deadline=None, max_examples=60)
def test_the_fewest_symbols_that_hold_the_mass_are_kept_and_at_most_k(seed, mass, at_most):
    random = np.random.default_rng(seed)
    p = random.dirichlet(np.full(12, 0.5), size=3)
    p[random.random(p.shape) < 0.2] = 0
    p[:, 0] += 1e-6
    p /= p.sum(1, keepdims=True)
    with np.errstate(divide="ignore"):
        found = keep_most_probable(np.log(p), np.zeros(3), mass, at_most)
    starts = np.cumsum([0, *found.kept_N])
    for row, (first, last) in enumerate(pairwise(starts)):
        symbols = found.symbols_F[first:last]
        kept = p[row][symbols]
        assert len(set(symbols)) == len(symbols) <= at_most and (kept > 0).all()
        assert sorted(kept, reverse=True) == kept.tolist() == sorted(p[row])[::-1][: len(kept)]
        all_kept = len(kept) == (p[row] > 0).sum()
        assert kept.sum() >= mass - 1e-9 or len(kept) == at_most or all_kept
        assert kept[:-1].sum() < mass + 1e-9
        np.testing.assert_allclose(found.log_probs_F[first:last], np.log(kept), rtol=1e-3)
        if all_kept:
            assert found.log_tail_N[row] == -np.inf
        else:
            left = np.delete(p[row], symbols).sum()
            assert found.log_tail_N[row] == pytest.approx(np.log(left), rel=1e-3)


@pytest.mark.parametrize(("mass", "at_most"), [(0.9, 16), (0.999, 4), (1.0, 256)])
def test_what_is_read_is_what_was_scored_up_to_float16(tmp_path, corpus, documents, mass, at_most):
    for name in NAMES:
        score(corpus, tmp_path / "cache", name, mass, at_most)
    write_manifest(tmp_path / "cache", corpus, {})
    read = ByteCache(tmp_path / "cache", corpus)
    counts = [len(supervised_symbols(d.segments)) for d in documents]
    signals = CachedSignals(read, [d.id for d in documents], counts)
    for number, document in enumerate(documents):
        log_p, lost = dense(document)
        symbols, log_probs, log_tail = signals.read(number)
        used = log_probs > -np.inf
        assert len(symbols) == counts[number] and used.shape[1] <= at_most
        assert (symbols[~used] == PAD).all()
        expected = np.take_along_axis(log_p, np.where(used, symbols, 0), axis=1)
        np.testing.assert_allclose(log_probs[used], expected[used], rtol=2**-11, atol=2**-24)
        kept = np.where(used, np.exp(expected.astype(np.float64)), 0).sum(1)
        left = 1 - kept
        np.testing.assert_allclose(np.exp(log_tail), left, rtol=1e-2, atol=1e-6)
        np.testing.assert_allclose(read.read(document.id).lost_mass_N, lost, rtol=1e-3)


def test_documents_are_found_by_id_in_any_order(cache, corpus, documents):
    backwards = documents[::-1]
    counts = [len(supervised_symbols(d.segments)) for d in backwards]
    signals = CachedSignals(ByteCache(cache, corpus), [d.id for d in backwards], counts)
    for number, document in enumerate(backwards):
        most_probable = dense(document)[0].argmax(1)
        assert signals.read(number)[0][:, 0].tolist() == most_probable.tolist()


def test_the_manifest_tells_what_the_cache_holds(cache, corpus, documents):
    manifest = json.loads((cache / "manifest.json").read_text())
    assert manifest["documents"] == len(documents)
    assert manifest["symbols"] == sum(len(supervised_symbols(d.segments)) for d in documents)
    assert manifest["bytes_on_disk"] == sum(p.stat().st_size for p in cache.glob("*.parquet"))
    assert [shard["name"] for shard in manifest["shards"]] == NAMES
    assert [shard["documents"] for shard in manifest["shards"]] == [3, 2]
    assert manifest["scoring"] == {"keep_mass": 0.9}
    assert manifest["key"] == "teacher"


def shard(folder, number=1):
    return folder / f"{NAMES[number]}.parquet"


def truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, r"cache/00001-of-00002\.parquet.*truncated"),
        (lambda path: path.unlink(), r"cache/00001-of-00002\.parquet: no such file"),
        (flip_a_byte, r"00001-of-00002\.parquet is not the shard that its manifest.*score again"),
    ],
)
def test_a_damaged_shard_is_refused_by_name(cache, corpus, damage, message):
    damage(shard(cache))
    with pytest.raises(ValueError, match=message):
        ByteCache(cache, corpus)


@pytest.mark.parametrize("damage", [truncate, lambda path: path.unlink()])
def test_no_manifest_is_written_over_a_damaged_shard(cache, corpus, damage):
    damage(shard(cache))
    with pytest.raises(ValueError, match=r"cache/00001-of-00002\.parquet"):
        write_manifest(cache, corpus, {})


def test_a_manifest_that_names_another_digest_is_refused(cache, corpus):
    manifest = json.loads((cache / "manifest.json").read_text())
    manifest["shards"][0]["sha256"] = "0" * 64
    (cache / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"00000-of-00002\.parquet.*another sha256.*score again"):
        ByteCache(cache, corpus)


def test_a_shard_of_another_teacher_is_not_gathered(cache, corpus):
    score(corpus, cache, NAMES[1], key="another teacher")
    with pytest.raises(ValueError, match=r"00001-of-00002\.parquet was scored by another teacher"):
        write_manifest(cache, corpus, {})


def test_a_shard_in_the_place_of_another_is_not_gathered(cache, corpus):
    shard(cache, 0).replace(shard(cache, 1))
    score(corpus, cache, NAMES[0])
    with pytest.raises(ValueError, match=r"00001-of-00002\.parquet was scored from other doc"):
        write_manifest(cache, corpus, {})


def test_a_shard_that_lacks_a_document_is_not_gathered(cache, corpus):
    source = corpus / f"{NAMES[0]}.parquet"
    document = next(read_shard(source))
    rows = [(document.id, keep_most_probable(*dense(document), 0.9, 16))]
    write_shard(shard(cache, 0), rows, source, "teacher")
    with pytest.raises(ValueError, match=r"00000-of-00002\.parquet holds 1 documents, expected 3"):
        write_manifest(cache, corpus, {})


def test_a_cache_of_documents_that_have_changed_is_refused(cache, corpus, documents):
    changed = [make_document("first", "text", [("text", "Another text.")]), *documents[1:]]
    write_documents(corpus, changed)
    with pytest.raises(ValueError, match=r"cache was made from other documents than .*corpus"):
        ByteCache(cache, corpus)
    with pytest.raises(ValueError, match=r"00000-of-00002\.parquet was scored from other doc"):
        write_manifest(cache, corpus, {})


def test_a_cache_that_is_not_finished_is_refused(cache, corpus):
    (cache / "manifest.json").unlink()
    with pytest.raises(ValueError, match=r"cache/manifest\.json: no such manifest"):
        ByteCache(cache, corpus)


def test_a_document_that_is_not_in_the_cache_is_named_with_the_cache(cache, corpus):
    with pytest.raises(ValueError, match=r"document 'new' is not in the byte cache in .*/cache"):
        CachedSignals(ByteCache(cache, corpus), ["short", "new"], [4, 4])


def test_another_number_of_symbols_is_named_with_document_and_cache(cache, corpus):
    message = r"'short' has 5 supervised symbols but 4 in the byte cache in .*/cache; score the"
    with pytest.raises(ValueError, match=message):
        CachedSignals(ByteCache(cache, corpus), ["short"], [5])
