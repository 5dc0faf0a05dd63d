import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.documents.cutting import lines, pack, paragraphs

TEXTS = st.text(alphabet="ab \n\r\x0c\u00e9\u20ac\U0001f600", max_size=200)


@given(TEXTS)
@settings(deadline=None, max_examples=100)
@pytest.mark.parametrize("cut", [lines, paragraphs])
def test_lines_and_paragraphs_join_to_the_text(cut, text):
    assert "".join(cut(text)) == text


@given(TEXTS)
@settings(deadline=None, max_examples=100)
def test_only_a_line_feed_ends_a_line(text):
    assert [line.removesuffix("\n") for line in lines(text + "\n")] == text.split("\n")


@given(st.lists(TEXTS, max_size=10), st.integers(4, 120))
@settings(deadline=None, max_examples=100)
def test_pieces_fit_and_join_to_the_units(units, max_bytes):
    pieces = list(pack(units, max_bytes))
    assert "".join(pieces) == "".join(units)
    assert all(len(piece.encode()) <= max_bytes for piece in pieces)


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(9, 40))
@settings(deadline=None, max_examples=100)
def test_units_that_fit_stay_whole_and_every_piece_is_as_full_as_it_can_be(sizes, max_bytes):
    units = [chr(97 + i % 26) * size for i, size in enumerate(sizes)]
    pieces = list(pack(units, max_bytes))
    starts = [0]
    for unit in units:
        starts.append(starts[-1] + len(unit))
    ends = [sum(map(len, pieces[: i + 1])) for i in range(len(pieces))]
    assert set(ends) <= set(starts)
    for piece, end in zip(pieces, ends[:-1], strict=False):
        next_unit = units[starts.index(end)]
        assert len(piece) + len(next_unit) > max_bytes


def test_a_unit_too_long_is_cut_at_blank_lines_then_lines_then_characters():
    assert list(pack(["aa\nbb\n\ncc"], 8)) == ["aa\nbb\n\n", "cc"]
    assert list(pack(["aaaa\nbbbb\ncc"], 8)) == ["aaaa\n", "bbbb\ncc"]
    assert list(pack(["\u20ac" * 3], 8)) == ["\u20ac\u20ac", "\u20ac"]
