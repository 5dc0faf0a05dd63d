import pytest

from bld.documents.document import make_document
from bld.documents.shards import ShardWriter, read_split
from bld.evaluation.files import sample_documents


def write(folder, documents, shards=2):
    with ShardWriter(folder, shards) as writer:
        for document in documents:
            writer.add(document)
        writer.finish({})
    return folder


@pytest.fixture
def split(tmp_path):
    texts = [make_document(f"d{n}", "text", [("text", f"Document {n}.")]) for n in range(40)]
    return write(tmp_path / "split", texts)


def ids(documents):
    return [document.id for document in documents]


def test_a_sample_is_some_documents_of_the_split_in_their_order(split):
    everything = ids(read_split(split))
    found = ids(sample_documents(split, 10, seed=3))
    assert len(found) == len(set(found)) == 10
    assert found == [one for one in everything if one in found]


def test_the_seed_alone_decides_what_is_drawn(split):
    drawn = [ids(sample_documents(split, 10, seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_every_document_is_drawn_by_some_seed(split):
    drawn = {one for seed in range(40) for one in ids(sample_documents(split, 8, seed))}
    assert drawn == set(ids(read_split(split)))


def test_a_split_with_fewer_documents_is_taken_whole(split):
    assert ids(sample_documents(split, 1000, seed=0)) == ids(read_split(split))


def test_a_sample_in_which_nobody_answers_is_refused(tmp_path):
    silent = [make_document(str(n), "c", [("user", f"Hello {n}?")]) for n in range(4)]
    with pytest.raises(ValueError, match=r"none of the 3 documents .* raise audit\.documents"):
        sample_documents(write(tmp_path / "split", silent), 3, seed=0)
