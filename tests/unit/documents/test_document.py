import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.documents.document import Document, check_same_text, make_document
from bld.symbols import Segment


@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text()), min_size=1))
@settings(deadline=None, max_examples=50)
def test_content_is_the_segments_joined_and_the_assistant_is_supervised(turns):
    document = make_document("a", "conversation", turns)
    assert document.content == "".join(text for _, text in turns).encode()
    assert [segment.supervised for segment in document.segments] == [
        role == "assistant" for role, _ in turns
    ]
    assert document.supervised.decode() == "".join(t for role, t in turns if role == "assistant")


def test_plain_text_is_supervised():
    assert make_document("a", "text", [("text", "x")]).segments == [Segment("text", b"x", True)]


def test_without_a_group_the_content_decides_it():
    one = make_document("a", "text", [("text", "same")])
    two = make_document("b", "text", [("text", "same")])
    assert one.group == two.group == hashlib.sha256(b"same").hexdigest()
    assert make_document("c", "text", [("text", "same")], "mine").group == "mine"


def test_content_that_is_not_utf8_is_refused_with_its_offset():
    segments = [Segment("user", b"abc", False), Segment("assistant", b"de\xff", True)]
    with pytest.raises(ValueError, match=r"'doc-7'.*byte offset 5 of the content"):
        Document("doc-7", "conversation", "g", segments)


def test_a_character_cut_by_a_segment_border_is_refused():
    euro = "\u20ac".encode()
    with pytest.raises(ValueError, match="byte offset 0"):
        Document("a", "text", "g", [Segment("text", euro[:1], True), Segment("text", euro[1:], 1)])


def test_a_lone_surrogate_is_refused_with_document_character_and_offset():
    with pytest.raises(
        ValueError, match=r"'doc-7', user segment.*U\+D800 at character 2 \(byte.* 4"
    ):
        make_document("doc-7", "conversation", [("user", "\u00e9\u00e9\ud800")])
    with pytest.raises(ValueError, match=r"document id .*U\+DC80"):
        make_document("file\udc80", "text", [("text", "x")])


def test_a_document_without_segments_is_refused():
    with pytest.raises(ValueError, match="'a' has no segments"):
        make_document("a", "text", [])


def test_models_that_write_other_text_are_told_with_both():
    check_same_text("a", [b"<think>4</think>4", b"<think>4</think>4"])
    with pytest.raises(ValueError) as caught:
        check_same_text("a", [b"<think>4</think>4", b"[THINK]4[/THINK]4"])
    for part in ("document 'a'", "b'<think>4", "b'[THINK]4", "`context` or `drop`"):
        assert part in str(caught.value)
