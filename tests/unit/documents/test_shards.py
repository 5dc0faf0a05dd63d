import hashlib
import json
import logging
import resource
import tracemalloc
from collections import Counter
from contextlib import contextmanager
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.documents.document import make_document
from bld.documents.numbered import NumberedDocuments
from bld.documents.shards import read_shard, read_split, write_splits
from bld.documents.splits import assign_split
from bld.files import shard_name


def split(share=1.0, shards=1, documents=None):
    return SimpleNamespace(fraction=share, shards=shards, documents=documents)


def numbered(count, text="document {}"):
    return [make_document(f"d{i}", "text", [("text", text.format(i))]) for i in range(count)]


def write(folder, documents, seed=0, about=dict, **splits):
    splits = splits or {"train": split()}
    return write_splits(documents, {name: folder / name for name in splits}, splits, seed, about)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_shards_are_named_by_index_and_count():
    assert shard_name(0, 8) == "00000-of-00008"


def test_hurtful_text_comes_back_byte_for_byte(tmp_path, hurtful):
    turns = [("system", hurtful), ("user", "q"), ("assistant", hurtful)]
    document = make_document(f"id {hurtful[:50]}", "conversation", turns)
    write(tmp_path, [document])
    assert list(read_split(tmp_path / "train")) == [document]
    assert list(read_shard(tmp_path / "train" / "00000-of-00001.parquet")) == [document]


DOCUMENTS = st.lists(
    st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text()), min_size=1, max_size=4),
    min_size=3,
    max_size=20,
)


@given(DOCUMENTS, st.integers(1, 3))
@settings(deadline=None, max_examples=20)
def test_documents_come_back_in_their_order(tmp_path_factory, conversations, shards):
    folder = tmp_path_factory.mktemp("corpus")
    documents = [make_document(str(i), "text", turns) for i, turns in enumerate(conversations)]
    write(folder, documents, train=split(shards=shards))
    assert list(read_split(folder / "train")) == documents


@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 30))
@settings(deadline=None, max_examples=30)
def test_of_many_shards_a_few_at_a_time_hold_consecutive_documents(
    tmp_path_factory, shards, in_turn, more
):
    folder, documents = tmp_path_factory.mktemp("corpus"), numbered(shards + more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bld.documents.shards.IN_TURN", in_turn)
        write(folder, documents, train=split(shards=shards))
    assert list(read_split(folder / "train")) == documents
    numbers = NumberedDocuments(folder / "train")
    assert [numbers[number] for number in reversed(range(len(numbers)))] == documents[::-1]
    assert list(NumberedDocuments(folder / "train", 3)) == documents[:3]
    names = [shard_name(shard, shards) for shard in range(shards)]
    held = [list(read_shard(folder / "train" / f"{name}.parquet")) for name in names]
    # As many in each as if all were dealt in turn.
    assert [len(of_shard) for of_shard in held] == [
        len(documents[shard::shards]) for shard in range(shards)
    ]
    rest = documents
    for first in range(0, shards, in_turn):
        of_these = held[first : first + in_turn]
        own, rest = rest[: sum(map(len, of_these))], rest[sum(map(len, of_these)) :]
        assert of_these == [own[shard :: len(of_these)] for shard in range(len(of_these))]
    assert len(list((folder / "train").iterdir())) == shards + 1


def test_a_thousand_shards_need_no_thousand_open_files(tmp_path):
    documents = numbered(1100)
    with open_files(160):
        write(tmp_path, documents, train=split(shards=1050))
        assert list(read_split(tmp_path / "train")) == documents


@contextmanager
def open_files(at_most):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (at_most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_documents_are_read_by_number_from_any_row_group_and_damage_is_told(tmp_path):
    write(tmp_path, numbered(700), train=split(shards=2))
    documents = NumberedDocuments(tmp_path / "train")
    assert [documents[n].id for n in (699, 0, 513, 512)] == ["d699", "d0", "d513", "d512"]
    path = tmp_path / "train" / f"{shard_name(0, 2)}.parquet"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 3] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=f"{path.name}: not a whole parquet file"):
        list(NumberedDocuments(tmp_path / "train"))


def test_document_i_lies_in_shard_i_modulo_their_number(tmp_path):
    write(tmp_path, numbered(1000), train=split(shards=3))
    for shard in range(3):
        documents = read_shard(tmp_path / "train" / f"{shard_name(shard, 3)}.parquet")
        assert [d.id for d in documents] == [f"d{i}" for i in range(shard, 1000, 3)]


def test_every_document_is_in_the_split_of_its_group_and_in_no_other(tmp_path):
    splits = {"train": split(0.6, 2), "test": split(0.3)}
    write(tmp_path, numbered(200), seed=5, **splits)
    found = {name: [d.id for d in read_split(tmp_path / name)] for name in splits}
    shares = {name: settings.fraction for name, settings in splits.items()}
    for name in splits:
        assert found[name] == [
            d.id for d in numbered(200) if assign_split(d.group, shares, 5) == name
        ]


def test_the_manifest_counts_what_was_written(tmp_path):
    chat = make_document("c", "conversation", [("user", "four"), ("assistant", "\u20ac")])
    documents = [*numbered(5), chat]
    (manifest,) = write(
        tmp_path, documents, about=lambda: {"seed": 3}, train=split(shards=2)
    ).values()
    assert manifest == json.loads((tmp_path / "train" / "manifest.json").read_text())
    text_bytes = sum(len(d.content) for d in documents[:5])
    assert manifest["documents"] == 6
    assert manifest["content_bytes"] == text_bytes + 7
    assert manifest["supervised_bytes"] == text_bytes + 3
    assert manifest["kinds"] == {
        "text": {"documents": 5, "content_bytes": text_bytes},
        "conversation": {"documents": 1, "content_bytes": 7},
    }
    assert manifest["seed"] == 3
    for shard in manifest["shards"]:
        path = tmp_path / "train" / f"{shard['name']}.parquet"
        assert shard["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert shard["documents"] == 3
        assert shard["content_bytes"] == sum(len(d.content) for d in read_shard(path))


def test_settings_may_not_overwrite_the_manifest(tmp_path):
    with pytest.raises(AssertionError, match="overwrite"):
        write(tmp_path, numbered(3), about=lambda: {"documents": 0})


def test_the_content_digest_sees_ids_roles_texts_their_borders_and_their_order(tmp_path):
    def digest(*documents):
        made = [make_document(id, "text", turns, "g") for id, turns in documents]
        return write(tmp_path, made)["train"]["content_sha256"]

    one, two = ("a", [("user", "x"), ("user", "yz")]), ("b", [("user", "w")])
    digests = [
        digest(one, two),
        digest(two, one),
        digest(("c", one[1]), two),
        digest(("a", [("user", "xy"), ("user", "z")]), two),
        digest(("a", [("user", "x"), ("assistant", "yz")]), two),
        digest(("a", [*one[1], *two[1]]), two),
    ]
    assert len(set(digests)) == len(digests)
    assert digest(one, two) == digests[0]


def test_the_content_digest_does_not_depend_on_the_number_of_shards(tmp_path):
    digests = {
        write(tmp_path, numbered(10), train=split(shards=n))["train"]["content_sha256"]
        for n in (1, 2, 5)
    }
    assert len(digests) == 1


def test_writing_twice_gives_identical_bytes(tmp_path):
    for run in ("one", "two"):
        write(tmp_path / run, numbered(700), train=split(0.7, 3), test=split(0.3))
    for name in ("train", "test"):
        assert contents(tmp_path / "one" / name) == contents(tmp_path / "two" / name)


def test_reading_stops_when_every_split_has_its_documents(tmp_path):
    pulled = []

    def endless():
        for i in range(10**9):
            pulled.append(i)
            yield make_document(f"d{i}", "text", [("text", str(i))])

    splits = {"train": split(0.5, 2, documents=20), "test": split(0.3, documents=5)}
    manifests = write(tmp_path, endless(), **splits)
    assert {name: m["documents"] for name, m in manifests.items()} == {"train": 20, "test": 5}
    last = max(int(list(read_split(tmp_path / name))[-1].content) for name in splits)
    assert pulled[-1] == last


def test_a_limit_does_not_change_which_documents_come_first(tmp_path):
    write(tmp_path / "all", numbered(50))
    write(tmp_path / "some", numbered(50), train=split(documents=7))
    everything = list(read_split(tmp_path / "all" / "train"))
    assert list(read_split(tmp_path / "some" / "train")) == everything[:7]


def test_a_limit_that_is_not_reached_is_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        write(tmp_path, numbered(3), train=split(documents=9))
    assert "'train' got 3 documents, fewer than its limit of 9" in caplog.text


@pytest.mark.parametrize(
    ("documents", "splits", "message"),
    [
        (2, {"train": split(shards=3)}, "'train' got 2 documents for 3 shards .*lower its shards"),
        (0, {"train": split()}, "'train' got 0 documents for 1 shards"),
        (
            5,
            {"train": split(0.9), "test": split(1e-9)},
            r"'test' got 0 .*fraction: 1e-09.*in all: 5",
        ),
        (9, {"train": split(shards=3, documents=2)}, "documents: 2"),
    ],
)
def test_too_few_documents_are_an_error_and_leave_nothing(tmp_path, documents, splits, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path, numbered(documents), **splits)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_failing_source_leaves_the_earlier_corpus_untouched(tmp_path):
    def failing():
        yield from numbered(600)
        raise ValueError("row 601 is broken")

    write(tmp_path, numbered(3))
    before = contents(tmp_path / "train")
    with pytest.raises(ValueError, match="row 601"):
        write(tmp_path, failing())
    assert contents(tmp_path / "train") == before


def test_shards_of_an_earlier_number_are_replaced(tmp_path):
    write(tmp_path, numbered(9), train=split(shards=4))
    write(tmp_path, numbered(9), train=split(shards=2))
    assert sorted(contents(tmp_path / "train")) == [
        "00000-of-00002.parquet",
        "00001-of-00002.parquet",
        "manifest.json",
    ]


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    def peak(count):
        arrow_bytes = Counter()

        def documents():
            for i in range(count):
                arrow_bytes[pa.total_allocated_bytes()] = 1
                yield make_document(f"d{i}", "text", [("text", f"document {i} " * 10)])

        tracemalloc.start()
        write(tmp_path, documents(), train=split(0.8, 2), test=split(0.2))
        python_peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return python_peak, max(arrow_bytes)

    small, large = peak(5_000), peak(50_000)
    assert large[0] < 1.5 * small[0]
    assert large[1] < 1.5 * small[1] + 1_000_000


def test_row_groups_are_bounded(tmp_path):
    write(tmp_path, numbered(1000) + numbered(5, "x" * 1_500_000 + "{}"))
    metadata = pq.ParquetFile(tmp_path / "train" / "00000-of-00001.parquet").metadata
    rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert max(rows) <= 256
    assert rows[-4:] == [1, 1, 1, 1]


@pytest.fixture
def corpus(tmp_path):
    write(tmp_path, numbered(600), train=split(shards=2))
    return tmp_path / "train"


def test_a_truncated_shard_is_refused(corpus):
    path = corpus / "00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    for read in (lambda: read_split(corpus), lambda: read_shard(path)):
        with pytest.raises(ValueError, match=r"00001-of-00002\.parquet: not a whole parquet file"):
            list(read())


def test_a_damaged_page_is_refused(corpus):
    path = corpus / "00000-of-00002.parquet"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 4] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"00000-of-00002\.parquet: not a whole parquet file"):
        list(read_split(corpus))


def lie(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["shards"][1].update(documents=299), "holds 300 documents, but .* counts 299"),
        (lambda m: m.update(documents=599), "counts 300 for it and 599 in all"),
        (lambda m: m["shards"].pop(), r"names 1 shards, .*besides \['00001-of-00002.parquet'\]"),
        (lambda m: m["shards"][0].update(name="x"), r"lacks \['x.parquet'\]"),
        (lambda m: m.pop("shards"), "not the manifest of a split of documents"),
        (lambda m: m.update(shards=[1]), "not the manifest of a split of documents"),
    ],
)
def test_a_manifest_that_lies_is_refused(corpus, change, message):
    lie(corpus, change)
    with pytest.raises(ValueError, match=rf"manifest\.json.*{message}|{message}"):
        list(read_split(corpus))


def test_a_missing_shard_or_manifest_is_refused(corpus):
    (corpus / "00000-of-00002.parquet").unlink()
    with pytest.raises(ValueError, match=r"lacks \['00000-of-00002.parquet'\]"):
        list(read_split(corpus))
    (corpus / "manifest.json").unlink()
    with pytest.raises(ValueError, match=r"manifest\.json: no such manifest"):
        list(read_split(corpus))


def test_parquet_of_another_kind_is_refused(tmp_path):
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: not a shard of documents: .*'text'"):
        list(read_shard(tmp_path / "a.parquet"))


def test_a_shard_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"a\.parquet: no such file"):
        list(read_shard(tmp_path / "a.parquet"))
