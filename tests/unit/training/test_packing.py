from collections import Counter
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.training.packing import epoch_rows, pieces_of, step_rows

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30)
ROW_LENGTH = st.integers(2, 25)
SEED = st.integers(0, 2**32)


def tokens_predicted(rows) -> Counter:
    return Counter(
        (piece.document, token)
        for row in rows
        for piece in row
        for token in range(piece.fresh, piece.stop)
    )


@given(LENGTHS, ROW_LENGTH, SEED, st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_an_epoch_predicts_every_token_but_a_documents_first_exactly_once(
    lengths, row_length, seed, epoch
):
    rows = epoch_rows(pieces_of(lengths, row_length), row_length, seed, epoch)
    expected = {(d, t): 1 for d, length in enumerate(lengths) for t in range(1, length)}
    assert tokens_predicted(rows) == expected


@given(LENGTHS, ROW_LENGTH, SEED)
@settings(deadline=None, max_examples=60)
def test_no_row_is_longer_than_the_limit_and_none_is_empty(lengths, row_length, seed):
    for row in epoch_rows(pieces_of(lengths, row_length), row_length, seed, 0):
        assert 0 < sum(piece.stop - piece.start for piece in row) <= row_length


@given(LENGTHS, ROW_LENGTH)
@settings(deadline=None, max_examples=60)
def test_what_is_predicted_in_a_piece_has_a_token_before_it_in_that_piece(lengths, row_length):
    for piece in pieces_of(lengths, row_length):
        assert piece.start < piece.fresh and piece.stop <= lengths[piece.document]


@given(LENGTHS, SEED)
@settings(deadline=None, max_examples=60)
def test_a_document_that_fits_in_a_row_is_never_cut(lengths, seed):
    rows = epoch_rows(pieces_of(lengths, 40), 40, seed, 0)
    found = sorted((p.document, p.start, p.stop) for row in rows for p in row)
    assert found == [(document, 0, length) for document, length in enumerate(lengths)]


@given(LENGTHS, ROW_LENGTH, SEED, st.integers(1, 7))
@settings(deadline=None, max_examples=40)
def test_steps_are_the_epochs_end_to_end(lengths, row_length, seed, rows_per_step):
    pieces = pieces_of(lengths, row_length)
    epochs = [row for epoch in range(3) for row in epoch_rows(pieces, row_length, seed, epoch)]
    steps = islice(step_rows(pieces, row_length, seed, rows_per_step), len(epochs) // rows_per_step)
    rows = [row for step in steps for row in step]
    assert rows == epochs[: len(rows)]


def test_the_rows_of_a_step_depend_on_the_seed_and_the_step_alone():
    pieces = pieces_of(range(1, 60), 30)

    def rows_of(seed):
        return list(islice(step_rows(pieces, 30, seed, 8), 12))

    assert rows_of(3) == rows_of(3)
    assert rows_of(3) != rows_of(4)


def test_every_epoch_has_another_order():
    pieces = pieces_of([10] * 50, 30)
    assert epoch_rows(pieces, 30, 1, 0) != epoch_rows(pieces, 30, 1, 1)


@pytest.mark.parametrize("longest", [100, 512])
def test_rows_of_documents_of_all_lengths_are_nearly_full(longest):
    pieces = pieces_of([1 + 7919 * i % longest for i in range(2000)], 512)
    rows = epoch_rows(pieces, 512, 0, 0)
    assert sum(p.stop - p.start for p in pieces) > 0.9 * 512 * len(rows)
