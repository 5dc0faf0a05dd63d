import pytest

from bld.documents.document import make_document
from bld.evaluation.alignment import alignment
from bld.tokenization.rendering import Renderer


@pytest.fixture(scope="module")
def renderers(tokenizers):
    return {kind: Renderer(tokenizer) for kind, tokenizer in tokenizers.items()}


def spans(renderer, document):
    """(first, stop) of every token of the content, one segment after the other."""
    found, at = [], 0
    for segment in document.segments:
        for token_id in renderer.content.encode(segment.text.decode(), "here"):
            length = len(renderer.vocabulary.token_bytes[token_id])
            found.append((at, at + length))
            at += length
    return found


KINDS = ["subwords", "bytes", "SentencePiece BPE", "Unigram"]


@pytest.mark.parametrize("student", KINDS)
@pytest.mark.parametrize("teacher", KINDS)
def test_counts_are_those_of_spans_held_against_each_other(renderers, documents, student, teacher):
    student, teacher = renderers[student], renderers[teacher]
    found = alignment(documents, student, teacher)
    pairs = [(spans(student, d), spans(teacher, d)) for d in documents]
    entries = [
        {text for text in r.vocabulary.token_bytes if text is not None} for r in (student, teacher)
    ]
    assert found == {
        "documents": len(documents),
        "vocabulary": {
            "student": len(entries[0]),
            "teacher": len(entries[1]),
            "shared": len(entries[0] & entries[1]),
        },
        "tokens": {
            "student": sum(len(ours) for ours, _ in pairs),
            "teacher": sum(len(theirs) for _, theirs in pairs),
            "aligned": sum(span in theirs for ours, theirs in pairs for span in ours),
        },
        "bytes": {
            "total": sum(len(s.text) for d in documents for s in d.segments),
            "shared_boundary": sum(
                stop in [theirs_stop for _, theirs_stop in theirs]
                for ours, theirs in pairs
                for _, stop in ours
            ),
        },
    }


def test_by_hand(renderers):
    # The subwords of " the first" are those two words, whose bytes are 4 and 6.
    document = make_document("one", "text", [("text", " the first")])
    subwords = [b" the", b" first"]
    ids = renderers["subwords"].ids_by_bytes
    encoded = renderers["subwords"].content.encode(" the first", "here")
    assert encoded == [ids[text] for text in subwords]
    found = alignment([document], renderers["subwords"], renderers["bytes"])
    assert found["tokens"] == {"student": 2, "teacher": 10, "aligned": 0}
    assert found["bytes"] == {"total": 10, "shared_boundary": 2}


def test_without_documents_there_is_nothing_to_count(renderers):
    found = alignment([], renderers["subwords"], renderers["bytes"])
    assert found["documents"] == 0
    assert set(found["tokens"].values()) == set(found["bytes"].values()) == {0}
