"""What is kept of the teacher's tokens: rounded to float16, and laid out again as it was."""

import numpy as np
import pytest

from bld.cache.top_k import keep_tokens, padded_tokens
from bld.scoring.tokens import TokenScores


def rows_of(probs_UV, keep):
    """The rows of these distributions; token u is u, and spells one symbol."""
    number = np.arange(len(probs_UV), dtype=np.int32)
    order_UV = np.argsort(-probs_UV, axis=1, kind="stable")
    with np.errstate(divide="ignore"):
        log_probs_UV = np.log(np.take_along_axis(probs_UV, order_UV, axis=1))
        log_tail_U = np.log(np.exp(log_probs_UV[:, keep:]).sum(axis=1))
    log_probs_UK = log_probs_UV[:, :keep].astype(np.float32)
    return TokenScores(
        symbol_U=number,
        count_U=np.ones_like(number),
        token_U=number,
        log_prob_U=np.log(probs_UV[number, 0]).astype(np.float32),
        ids_UK=np.where(np.isfinite(log_probs_UK), order_UV[:, :keep], -1).astype(np.int32),
        log_probs_UK=log_probs_UK,
        log_tail_U=log_tail_U.astype(np.float32),
    )


def random_probs(rows, entries):
    return np.random.default_rng(rows).dirichlet(np.full(entries, 0.2), rows)


@pytest.mark.parametrize("keep", [1, 3, 40])
def test_what_is_laid_out_again_is_what_was_kept_up_to_rounding(keep):
    rows = rows_of(random_probs(60, 40), keep)
    found = padded_tokens(keep_tokens(rows), keep)
    for ours, theirs in zip(found[:5], rows[:5], strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    # Half a unit in the last of ten bits, and as much again for the sum of the row.
    np.testing.assert_allclose(found.log_probs_UK, rows.log_probs_UK, rtol=2**-11, atol=2e-3)
    np.testing.assert_allclose(found.log_tail_U, rows.log_tail_U, rtol=2**-11, atol=2e-3)
    total = np.exp(found.log_probs_UK).sum(axis=1) + np.exp(found.log_tail_U)
    np.testing.assert_allclose(total, 1, rtol=1e-6)
    assert found.log_probs_UK.dtype == found.log_tail_U.dtype == np.float32
    assert np.isneginf(found.log_tail_U).all() == (keep == 40)


def test_places_are_unused_where_fewer_tokens_are_possible_or_kept():
    probs = np.array([[0.5, 0.25, 0.25, 0.0], [1.0, 0.0, 0.0, 0.0]])
    kept = keep_tokens(rows_of(probs, 4))
    assert kept.kept_U.tolist() == [3, 1] and kept.ids_F.tolist() == [0, 1, 2, 0]
    found = padded_tokens(kept, 5)
    assert found.ids_UK.tolist() == [[0, 1, 2, -1, -1], [0, -1, -1, -1, -1]]
    np.testing.assert_allclose(np.exp(found.log_probs_UK[:, :4]), probs, rtol=1e-3)
    assert np.isneginf(found.log_probs_UK[found.ids_UK < 0]).all()


def test_what_is_too_improbable_for_float16_is_not_kept():
    rows = rows_of(np.array([[0.5, 0.5]]), 2)
    rows.log_probs_UK[0] = [0, -70_000]
    kept = keep_tokens(rows)
    assert kept.kept_U.tolist() == [1] and kept.log_probs_F.tolist() == [0]


def test_a_document_without_supervised_tokens_has_no_rows():
    found = padded_tokens(keep_tokens(rows_of(np.zeros((0, 9)), 4)), 4)
    assert [len(column) for column in found] == [0] * 7
    assert found.ids_UK.shape == found.log_probs_UK.shape == (0, 4)
