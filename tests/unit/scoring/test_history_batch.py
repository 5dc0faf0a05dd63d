"""Windows of a turn: who owns which byte, and which histories are taken along."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.scoring.history_batch import part_of
from bld.scoring.prefixes import HistoryTree
from bld.tokenization.rendered import Turn
from bld.windows import windows


@st.composite
def turns(draw) -> tuple[Turn, HistoryTree, int]:
    """A turn somewhere in a document, histories beside its trunk, and the document's length.

    The bytes of the text and the tokens are numbered, so that each says where it comes from.
    """
    lengths = draw(st.lists(st.integers(1, 4), max_size=30))
    size, trunk = sum(lengths), len(lengths)
    first, after = draw(st.integers(1, 20)), draw(st.integers(0, 20))
    end = first + trunk if draw(st.booleans()) else None
    turn = Turn(first, first + trunk, draw(st.integers(0, 99)), bytes(range(size)), end, first)
    parent, start = [*range(-1, trunk)], np.cumsum([0, *lengths]).tolist()
    for _ in range(draw(st.integers(0, 30)) if trunk else 0):
        node = draw(st.integers(0, len(start) - 1))
        end = start[node] + draw(st.integers(1, 4))
        if end <= size:
            parent.append(node)
            start.append(end)
    tree = HistoryTree(np.arange(1000, 1000 + len(start)), np.array(parent), np.array(start))
    return turn, tree, turn.last + 1 + after


def cut(turn, tree, length, window):
    """(window, part) of every window of the document that holds a part of the turn."""
    found = (
        (w, part_of(turn, tree, w, document=7, sequence=row, longest=4))
        for row, w in enumerate(windows(length, window, window // 2))
    )
    return [(w, part) for w, part in found if part]


def hangs_from(tree, trunk, node):
    while node > trunk:
        node = tree.parent_R[node]
    return node


@given(turns(), st.integers(1, 40))
@settings(deadline=None, max_examples=100)
def test_the_parts_tile_the_symbols_of_a_turn_with_its_end(drawn, window):
    turn, tree, length = drawn
    symbols = []
    for _, part in cut(turn, tree, length, window):
        assert part.document == 7 and part.rows > 0
        symbols += range(part.symbol, part.symbol + part.rows)
        own = part.span.text[part.skip : part.skip + part.rows]
        # the row of a byte is the one before which everything up to it is read
        offset = part.symbol - turn.symbol
        assert own == turn.text[offset : offset + part.rows]
    assert symbols == list(range(turn.symbol, turn.symbol + len(turn.text) + 1))


@given(turns(), st.integers(1, 40))
@settings(deadline=None, max_examples=100)
def test_a_byte_is_owned_by_the_window_in_which_the_trunk_before_it_is_new(drawn, window):
    turn, tree, length = drawn
    trunk = turn.last - turn.first
    for w, part in cut(turn, tree, length, window):
        for symbol in range(part.symbol, part.symbol + part.rows):
            before = tree.start_R[: trunk + 1] <= symbol - turn.symbol
            position = turn.first - 1 + np.flatnonzero(before).max()
            assert w.fresh <= position < w.stop


@given(turns(), st.integers(1, 40))
@settings(deadline=None, max_examples=100)
def test_the_parts_tile_the_tokens_of_a_turn_and_know_the_histories_before_them(drawn, window):
    turn, tree, length = drawn
    tokens = []
    for w, part in cut(turn, tree, length, window):
        tokens += range(part.token, part.token + part.tokens)
        history = part.lead + np.arange(part.tokens)
        assert (history < part.span.trunk).all()
        # the hidden state after a history stands one before the token that follows it
        column = w.start + part.span.column + history
        assert (column + 1 == part.token + np.arange(part.tokens)).all()
        assert ((w.fresh <= column) & (column < w.stop)).all()
    assert tokens == list(range(turn.first, turn.last + turn.ends))


@given(turns(), st.integers(1, 40))
@settings(deadline=None, max_examples=100)
def test_a_part_takes_along_what_hangs_from_the_trunk_a_longest_token_before_its_own_bytes(
    drawn, window
):
    turn, tree, length = drawn
    trunk = turn.last - turn.first
    for w, part in cut(turn, tree, length, window):
        span = part.span
        begin = part.symbol - turn.symbol - part.skip
        stop = begin + len(span.text)
        own = part.symbol - turn.symbol
        ends = stop == len(turn.text) and part.symbol + part.rows == turn.symbol + stop + 1
        taken = [
            node
            for node in range(len(tree.start_R))
            for base in [hangs_from(tree, trunk, node)]
            if w.start <= turn.first - 1 + base < w.stop
            and tree.start_R[base] >= own - 4
            and tree.start_R[node] < stop + ends
        ]
        assert span.tree.token_R.tolist() == tree.token_R[taken].tolist()
        assert (span.tree.start_R + begin).tolist() == tree.start_R[taken].tolist()
        parents = [tree.token_R[tree.parent_R[node]] for node in taken[1:]]
        assert span.tree.parent_R[0] == -1
        assert span.tree.token_R[span.tree.parent_R[1:]].tolist() == parents
        assert span.trunk == sum(node <= trunk for node in taken)
        assert w.start + span.column == turn.first - 1 + taken[0]
        assert w == list(windows(length, window, window // 2))[span.sequence]


def test_a_turn_that_fits_is_one_part_that_takes_all_its_histories():
    tree = HistoryTree(np.arange(6), np.array([-1, 0, 1, 2, 0, 4]), np.array([0, 2, 3, 5, 1, 4]))
    turn = Turn(first=3, last=6, symbol=10, text=b"abcde", end=6, opens=3)
    ((_, part),) = cut(turn, tree, length=9, window=9)
    assert (part.symbol, part.skip, part.rows) == (10, 0, 6)
    assert part.span.text == b"abcde" and part.span.column == 2 and part.span.trunk == 4
    for whole, taken in zip(tree, part.span.tree, strict=True):
        assert whole.tolist() == taken.tolist()


@pytest.mark.parametrize(("first", "is_read"), [(3, False), (4, True), (9, True), (10, False)])
def test_a_window_has_no_part_of_a_turn_that_is_read_before_or_after_it(first, is_read):
    turn = Turn(first, first + 3, 0, b"abc", first + 3, first)
    tree = HistoryTree(np.arange(4), np.arange(-1, 3), np.arange(4))
    window = list(windows(14, 6, 3))[1]
    assert (window.start, window.fresh, window.stop) == (3, 6, 9)
    # states after the turn's histories stand one before its first token to its last
    assert (part_of(turn, tree, window, 0, 1, 4) is not None) == is_read
