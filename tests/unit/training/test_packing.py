from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.training.packing import GROUP, Piece, Pieces, epoch_rows, step_rows

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30)
SEED = st.integers(0, 2**32)


def whole(lengths):
    return Pieces(Piece(number, 0, length, 1) for number, length in enumerate(lengths))


@given(LENGTHS, SEED, st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_an_epoch_holds_every_piece_exactly_once(lengths, seed, epoch):
    rows = epoch_rows(whole(lengths), 40, seed, epoch)
    assert sorted(piece for row in rows for piece in row) == list(whole(lengths))


@given(st.lists(st.integers(1, 40), max_size=700), st.integers(40, 60), SEED)
@settings(deadline=None, max_examples=20)
def test_rows_are_filled_first_fit_longest_first_in_groups_of_neighbours(lengths, row_length, seed):
    random, pieces = np.random.default_rng([seed, 2]), list(whole(lengths))
    order, rows = random.permutation(len(pieces)), []
    for first in range(0, len(order), GROUP):
        group = [pieces[i] for i in order[first : first + GROUP]]
        made = []
        for piece in sorted(group, key=lambda piece: piece.stop, reverse=True):
            fit = [r for r in made if sum(one.stop for one in r) + piece.stop <= row_length]
            if not fit:
                made.append([])
            (fit or made[-1:])[0].append(piece)
        rows += made
    expected = [rows[i] for i in random.permutation(len(rows))]
    assert list(epoch_rows(whole(lengths), row_length, seed, 2)) == expected


@given(LENGTHS, st.integers(40, 60), SEED)
@settings(deadline=None, max_examples=60)
def test_no_row_is_longer_than_the_limit_and_none_is_empty(lengths, row_length, seed):
    for row in epoch_rows(whole(lengths), row_length, seed, 0):
        assert 0 < sum(piece.stop - piece.start for piece in row) <= row_length


@given(LENGTHS, st.integers(40, 60), SEED, st.integers(1, 7))
@settings(deadline=None, max_examples=40)
def test_steps_are_the_epochs_end_to_end(lengths, row_length, seed, rows_per_step):
    pieces = whole(lengths)
    epochs = [row for epoch in range(3) for row in epoch_rows(pieces, row_length, seed, epoch)]
    steps = islice(step_rows(pieces, row_length, seed, rows_per_step), len(epochs) // rows_per_step)
    rows = [row for step in steps for row in step]
    assert rows == epochs[: len(rows)]


def test_the_rows_of_a_step_depend_on_the_seed_and_the_step_alone():
    pieces = whole(range(1, 31))

    def rows_of(seed):
        return list(islice(step_rows(pieces, 30, seed, 8), 12))

    assert rows_of(3) == rows_of(3)
    assert rows_of(3) != rows_of(4)


def test_every_epoch_has_another_order():
    pieces = whole([10] * 50)
    assert list(epoch_rows(pieces, 30, 1, 0)) != list(epoch_rows(pieces, 30, 1, 1))


@pytest.mark.parametrize("longest", [100, 512])
def test_rows_of_documents_of_all_lengths_are_nearly_full(longest):
    pieces = whole([1 + 7919 * i % longest for i in range(2000)])
    rows = epoch_rows(pieces, 512, 0, 0)
    assert sum(p.stop - p.start for p in pieces) > 0.9 * 512 * len(rows)
