import json
import multiprocessing
import os
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bld.cache import reading
from bld.cache.places import map_places, write_places
from bld.cache.reading import ByteCache, CachedSignals
from bld.cache.top_k import keep_most_probable
from bld.documents.document import make_document
from bld.documents.shards import read_shard, read_split
from bld.files import sha256_of, write_json
from bld.symbols import PAD, supervised_symbols
from cache_folders import NAMES, SETTINGS, dense, gather, score, teacher_of, write_documents


@pytest.fixture
def corpus(tmp_path, documents):
    write_documents(tmp_path / "corpus", documents)
    write_json(tmp_path / "teacher.json", {"source": {"hub": "a/teacher", "revision": "0" * 40}})
    return tmp_path / "corpus"


@pytest.fixture
def cache(tmp_path, corpus):
    """The folder of a whole cache."""
    for name in NAMES:
        score(corpus, tmp_path / "cache", name)
    gather(tmp_path / "cache", corpus)
    return tmp_path / "cache"


@pytest.mark.parametrize(("mass", "at_most"), [(0.9, 16), (0.999, 4), (1.0, 256)])
def test_what_is_read_is_what_was_scored_up_to_rounding(tmp_path, corpus, documents, mass, at_most):
    for name in NAMES:
        score(corpus, tmp_path / "cache", name, mass, at_most)
    gather(tmp_path / "cache", corpus)
    read = ByteCache(tmp_path / "cache", corpus)
    counts = [len(supervised_symbols(d.segments)) for d in documents]
    signals = CachedSignals(read, [d.id for d in documents], counts)
    for number, document in enumerate(documents):
        log_p, lost = dense(document)
        [(symbols, log_probs, log_tail, tokens)] = signals.read([number])
        assert tokens is None
        used = log_probs > -np.inf
        assert len(symbols) == counts[number] and used.shape[1] <= at_most
        assert (symbols[~used] == PAD).all()
        expected = np.take_along_axis(log_p, np.where(used, symbols, 0), axis=1)
        # Logarithms are rounded by 2^-6 of themselves, then rows are normalised.
        np.testing.assert_allclose(log_probs[used], expected[used], rtol=2**-6, atol=2**-5)
        left = 1 - np.where(used, np.exp(expected.astype(np.float64)), 0).sum(1)
        np.testing.assert_allclose(np.exp(log_tail), left, rtol=0.2, atol=1e-6)
        stored = read.read(document.id)
        assert (stored.lost_mass_N >= lost).all()
        np.testing.assert_allclose(stored.lost_mass_N, lost, rtol=2**-3)
        spread = read.read_dense(document.id)
        np.testing.assert_allclose(np.exp(spread).sum(1), 1, rtol=1e-6)
        np.testing.assert_allclose(
            np.take_along_axis(spread, np.where(used, symbols, 0), axis=1)[used],
            log_probs[used],
            atol=1e-5,
        )


def test_documents_are_found_by_id_in_any_order(cache, corpus, documents):
    backwards = documents[::-1]
    counts = [len(supervised_symbols(d.segments)) for d in backwards]
    signals = CachedSignals(ByteCache(cache, corpus), [d.id for d in backwards], counts)
    found = signals.read(range(len(backwards)))
    for (symbols, *_), document in zip(found, backwards, strict=True):
        assert symbols[:, 0].tolist() == dense(document)[0].argmax(1).tolist()


def test_the_manifest_tells_what_the_cache_holds(cache, corpus, documents):
    manifest = json.loads((cache / "manifest.json").read_text())
    found = [keep_most_probable(*dense(d), 0.9, 16) for d in documents]
    kept, lost = (np.concatenate([one[part] for one in found]) for part in (0, 4))
    supervised = [len(supervised_symbols(d.segments)) for d in documents]
    assert manifest["format"] == 5
    assert manifest["documents"] == len(documents) == 5
    assert manifest["symbols"] == sum(supervised) == sum(s["symbols"] for s in manifest["shards"])
    assert manifest["documents_in_windows"] == 1
    assert manifest["bytes_on_disk"] == sum(p.stat().st_size for p in cache.glob("*.parquet"))
    per_byte = manifest["bytes_on_disk"] / sum(len(d.supervised) for d in documents)
    assert manifest["bytes_per_supervised_byte"] == pytest.approx(per_byte)
    assert manifest["most_kept"] == kept.max() and manifest["mean_kept"] == kept.mean()
    assert manifest["most_kept_tokens"] == 0
    assert manifest["mean_lost_mass"] == pytest.approx(lost.astype(float).mean())
    assert manifest["largest_lost_mass"] == lost.max()
    assert [shard["name"] for shard in manifest["shards"]] == NAMES
    assert [shard["documents"] for shard in manifest["shards"]] == [3, 2]
    assert [shard["sha256"] for shard in manifest["shards"]] == [
        sha256_of(shard(cache, number)) for number in range(2)
    ]
    assert manifest["settings"] == SETTINGS
    assert manifest["teacher_sha256"] == sha256_of(teacher_of(corpus))
    assert [source["hub"] for source in manifest["teacher_sources"]] == ["a/teacher"]


@pytest.fixture
def large(tmp_path, corpus):
    """Folder and corpus of a cache with many row groups."""
    text = "Return the index of the first key. " * 30
    many = [make_document(f"{n}", "text", [("text", f"{n} {text}")]) for n in range(48)]
    write_documents(corpus, many)
    for name in NAMES:
        score(corpus, tmp_path / "cache", name)
    gather(tmp_path / "cache", corpus)
    return tmp_path / "cache", corpus


def test_row_groups_hold_a_few_documents(large):
    file = pq.ParquetFile(shard(large[0]))
    rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    assert rows == [4] * 6  # of 1,050 symbols each, so that four are the first to pass 4,096


def test_every_document_is_found_among_many_row_groups(large):
    cache = ByteCache(*large)
    for name in NAMES:
        for document in read_shard(large[1] / f"{name}.parquet"):
            found = cache.read(document.id)
            first = found.symbols_F[np.cumsum([0, *found.kept_N[:-1]])]
            assert first.tolist() == dense(document)[0].argmax(1).tolist()


def digests(folder, corpus, seed):
    order, cache = np.random.default_rng(seed).permutation(48), ByteCache(folder, corpus)
    return {n: [array.tobytes() for array in cache.read(f"{n}")] for n in order}


def test_many_processes_read_one_cache(large):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        first, *others = pool.starmap(digests, [(*large, seed) for seed in range(3)])
    assert others == [first, first]


def test_memory_does_not_grow_with_what_was_read(large):
    cache = ByteCache(*large, row_groups_in_memory=1)
    used = []
    for n in np.random.default_rng(0).permutation(48):
        cache.read(f"{n}")
        used.append(pa.total_allocated_bytes())
    assert max(used) - min(used) < 4 * max(1, used[0])


def test_few_of_many_shards_are_open(large):
    cache = ByteCache(*large, open_shards=1)
    list(map(cache.read, ["0", "1", "2"]))
    opened = [os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()]
    assert sum(path.startswith(str(large[0])) for path in opened) == 1


def test_processes_share_out_the_shards_that_they_look_at(large, monkeypatch):
    monkeypatch.setattr(reading, "_check_shard", Mock())
    monkeypatch.setenv("WORLD_SIZE", "2")
    ByteCache(*large)
    assert reading._check_shard.call_count == 1


def shard(folder, number=1):
    return folder / f"{NAMES[number]}.parquet"


def truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def flip_a_byte(path):
    """In the middle of the first document's symbols."""
    symbols = pq.ParquetFile(path).metadata.row_group(0).column(4)
    content = bytearray(path.read_bytes())
    content[symbols.data_page_offset + symbols.total_compressed_size // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, r"cache/00001-of-00002\.parquet.*truncated"),
        (lambda path: path.unlink(), r"cache/00001-of-00002\.parquet: no such file"),
        (flip_a_byte, r"cache/00001-of-00002\.parquet: not a whole parquet file"),
    ],
)
def test_a_damaged_shard_is_refused_by_name(cache, corpus, documents, damage, message):
    damage(shard(cache))
    with pytest.raises(ValueError, match=message):
        for document in documents:
            ByteCache(cache, corpus).read(document.id)


def test_a_shard_is_compared_with_the_record_of_its_scoring(cache, corpus):
    def record(sha256):
        made = {"sha256": sha256, "bytes": 0}
        outputs = {str(shard(cache)): made, str(shard(cache, 0)): {**made, "sha256": "1" * 64}}
        write_json(shard(cache).with_suffix(".record.json"), {"outputs": outputs})

    record(sha256_of(shard(cache)))
    gather(cache, corpus)
    flip_a_byte(shard(cache))
    message = r"00001-of-00002\.parquet is not what its scoring has written: expected sha256"
    with pytest.raises(ValueError, match=message):
        gather(cache, corpus)


def test_gathering_reads_no_rows_of_shards_that_have_records(cache, corpus, monkeypatch):
    before = json.loads((cache / "manifest.json").read_text())
    for number in range(2):
        outputs = {shard(cache, number).name: {"sha256": sha256_of(shard(cache, number))}}
        write_json(shard(cache, number).with_suffix(".record.json"), {"outputs": outputs})
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", Mock(side_effect=AssertionError))
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", Mock(side_effect=AssertionError))
    gather(cache, corpus)
    assert json.loads((cache / "manifest.json").read_text()) == before


@pytest.mark.parametrize("damage", [truncate, lambda path: path.unlink()])
def test_damaged_places_are_refused(cache, corpus, damage):
    damage(cache / "places.arrow")
    with pytest.raises(ValueError, match=r"places\.arrow is not the file that its manifest names"):
        ByteCache(cache, corpus)


def test_places_of_other_documents_are_refused(cache, corpus, monkeypatch):
    found = map_places(cache / "places.arrow")
    for others in (found._replace(key=found.key + np.uint64(1)), found._replace(row=0 * found.row)):
        write_places(cache / "places.arrow", others)
        with pytest.raises(ValueError, match=r"places\.arrow is not what .*manifest\.json names"):
            ByteCache(cache, corpus)
    # Where another process has looked at them, what is read is compared.
    monkeypatch.setenv("RANK", "1")
    read = ByteCache(cache, corpus)
    with pytest.raises(ValueError, match=r"holds document '.*' where '.*' is expected"):
        list(map(read.read, ["first", "short", "long"]))


@pytest.mark.parametrize("damage", [truncate, lambda path: path.unlink(), flip_a_byte])
def test_no_manifest_is_written_over_a_damaged_shard(cache, corpus, damage):
    damage(shard(cache))
    with pytest.raises(ValueError, match=r"cache/00001-of-00002\.parquet"):
        gather(cache, corpus)


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        (
            {"teacher_sha256": "0" * 64},
            r"by another teacher: expected '[0-9a-f]{64}', found '0{64}'",
        ),
        (
            {"documents_sha256": "0" * 64},
            r"from other documents: expected '[0-9a-f]{64}', found '0",
        ),
        (
            {"settings": {"scoring": {"top_p": 0.5, "histories": "prefix"}, "reading": {}}},
            r"with other settings: scoring: top_p: expected 0\.9, found 0\.5",
        ),
    ],
)
def test_a_shard_of_another_origin_is_neither_gathered_nor_read(cache, corpus, origin, message):
    score(corpus, cache, NAMES[1], **origin)
    message = rf"cache/00001-of-00002\.parquet was scored {message}.*; delete it and score again"
    with pytest.raises(ValueError, match=message):
        gather(cache, corpus)
    edit(cache, lambda m: m["shards"][1].update(sha256=sha256_of(shard(cache))))
    with pytest.raises(ValueError, match=message):
        ByteCache(cache, corpus)


def test_shards_of_two_versions_of_the_code_are_not_gathered(cache, corpus):
    score(corpus, cache, NAMES[1], step="another step")
    with pytest.raises(ValueError, match=r"00000-of.* and .*00001-of.*two versions of the code"):
        gather(cache, corpus)


def test_a_shard_in_the_place_of_another_is_not_gathered(cache, corpus):
    shard(cache, 0).replace(shard(cache, 1))
    score(corpus, cache, NAMES[0])
    with pytest.raises(ValueError, match=r"00001-of-00002\.parquet was scored from other doc"):
        gather(cache, corpus)


def test_a_shard_that_lacks_a_document_is_not_gathered(cache, corpus):
    document = next(read_shard(corpus / f"{NAMES[0]}.parquet"))
    score(corpus, cache, NAMES[0], documents=[document])
    with pytest.raises(ValueError, match=r"00000-of-00002\.parquet: expected 3 documents, found 1"):
        gather(cache, corpus)


def edit(cache, change):
    manifest = json.loads((cache / "manifest.json").read_text())
    change(manifest)
    write_json(cache / "manifest.json", manifest)


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        (
            lambda m: m["shards"][0].update(bytes=7),
            r"00000-of.* is not the file that its manifest names: expected 7 bytes, found",
        ),
        (
            lambda m: m["shards"].pop(),
            r"expected the shards \['00000-of-00002', '00001-of-00002'\]",
        ),
        (lambda m: m["shards"].reverse(), r"manifest\.json: expected the shards .* gather again"),
        (
            lambda m: m["shards"][1].update(documents=7),
            r"7 documents of shard 00001-of.* but 2 are",
        ),
        (lambda m: m["shards"][0].update(symbols=7), r"counts 7 symbols of shard 00000-of-00002"),
        (lambda m: m.update(documents=7), r"manifest\.json counts 7 documents in all, but 5 are"),
        (lambda m: m.update(symbols=7), r"counts 7 symbols in all, but \d+ are there; .* gather"),
        (
            lambda m: m.update(settings={"reading": {}}),
            r"with other settings: scoring: expected None",
        ),
        (
            lambda m: m.update(teacher_sha256="0" * 64),
            r"by another teacher: expected '0{64}', found",
        ),
        (lambda m: m.update(content_sha256="0" * 64), r"made from other documents than .*corpus"),
        (
            lambda m: m.update(format=3),
            r"expected a byte cache of format 5, found 3; .*score again",
        ),
        (lambda m: m.pop("format"), r"format 5, found one from before formats .*score again"),
    ],
)
def test_a_manifest_that_lies_is_refused(cache, corpus, lie, message):
    edit(cache, lie)
    with pytest.raises(ValueError, match=message):
        ByteCache(cache, corpus)


def test_a_manifest_that_lies_about_how_much_is_kept_is_refused_when_it_shows(cache, corpus):
    edit(cache, lambda m: m.update(most_kept=2))
    signals = CachedSignals(ByteCache(cache, corpus), ["short"], [4])
    with pytest.raises(ValueError, match=r"most_kept is 2, but \d+ .* document 'short'"):
        signals.read([0])


def test_a_shard_of_the_old_format_is_refused(cache, corpus):
    old = pa.table({"id": ["first"], "kept": [[1]]}).replace_schema_metadata({"key": "teacher"})
    pq.write_table(old, shard(cache))
    with pytest.raises(ValueError, match=r"00001-of-00002\.parquet: expected .* 5, found one from"):
        gather(cache, corpus)


def test_a_cache_of_documents_that_have_changed_is_refused(cache, corpus, documents):
    changed = [make_document("first", "text", [("text", "Another text.")]), *documents[1:]]
    write_documents(corpus, changed)
    with pytest.raises(ValueError, match=r"cache was made from other documents than .*corpus"):
        ByteCache(cache, corpus)
    with pytest.raises(ValueError, match=r"00000-of-00002\.parquet was scored from other doc"):
        gather(cache, corpus)


def test_a_document_that_changed_behind_the_back_of_its_manifest_is_refused(corpus, documents):
    manifest = (corpus / "manifest.json").read_bytes()
    changed = [make_document("first", "text", [("text", "Another text.")]), *documents[1:]]
    write_documents(corpus, changed)
    (corpus / "manifest.json").write_bytes(manifest)
    with pytest.raises(ValueError, match=r"corpus: expected documents with the digest"):
        list(read_split(corpus))


def test_two_documents_with_one_id_are_refused(tmp_path, corpus, documents):
    write_documents(corpus, [*documents, documents[0]])
    for name in NAMES:
        score(corpus, tmp_path / "cache", name)
    with pytest.raises(ValueError, match=r"00001-of.* holds a second document 'first'"):
        gather(tmp_path / "cache", corpus)


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
