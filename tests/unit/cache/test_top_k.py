"""What is stored of distributions over symbols and tokens, and how it is laid out again."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bld.cache.top_k import keep_most_probable, keep_tokens, padded, padded_tokens
from bld.scoring.token_scores import TokenScores
from bld.symbols import PAD


@given(st.integers(0, 2**32), st.sampled_from([0.1, 0.5, 0.9, 0.999, 1.0]), st.integers(1, 20))
@settings(deadline=None, max_examples=60)
def test_the_fewest_symbols_that_hold_the_mass_are_kept_and_at_most_k(seed, mass, at_most):
    random = np.random.default_rng(seed)
    p = random.dirichlet(np.full(12, 0.5), size=3)
    p[random.random(p.shape) < 0.2] = 0
    p[:, 0] += 1e-6
    p /= p.sum(1, keepdims=True)
    with np.errstate(divide="ignore"):
        found = keep_most_probable(np.log(p), np.zeros(3), mass, at_most)
    starts = np.cumsum([0, *found.kept_N])
    for row, (first, last) in enumerate(pairwise(starts)):
        symbols = found.symbols_F[first:last]
        kept = p[row][symbols]
        assert len(set(symbols)) == len(symbols) <= at_most and (kept > 0).all()
        assert sorted(kept, reverse=True) == kept.tolist() == sorted(p[row])[::-1][: len(kept)]
        all_kept = len(kept) == (p[row] > 0).sum()
        assert kept.sum() >= mass - 1e-6 or len(kept) == at_most or all_kept
        assert kept[:-1].sum() < mass + 1e-6
        np.testing.assert_allclose(found.log_probs_F[first:last], np.log(kept), rtol=2**-5.9)
        if all_kept:
            assert found.log_tail_N[row] == -np.inf
        else:
            left = np.delete(p[row], symbols).sum()
            assert found.log_tail_N[row] == pytest.approx(np.log(left), rel=2**-5.9)


@given(st.integers(0, 2**32), st.integers(1, 8), st.sampled_from([3, 40, 3000]))
@settings(deadline=None, max_examples=40)
def test_of_symbols_with_one_probability_the_smallest_comes_first(seed, at_most, rows):
    p = np.random.default_rng(seed).integers(1, 4, (rows, 9)) / 8
    found = keep_most_probable(np.log(p / 9), np.zeros(rows), 1.0, at_most)
    expected = np.argsort(-p, axis=1, kind="stable")[:, :at_most]
    assert found.symbols_F.reshape(rows, at_most).tolist() == expected.tolist()


def test_a_distribution_without_a_choice_keeps_one_symbol_and_no_tail():
    certain = np.full((1, 258), -np.inf, np.float32)
    certain[0, 65] = 0
    found = keep_most_probable(certain, np.zeros(1), 0.999, 16)
    assert (found.kept_N.tolist(), found.symbols_F.tolist()) == ([1], [65])
    assert (found.log_probs_F.tolist(), found.log_tail_N.tolist()) == ([0], [-np.inf])


def test_a_document_without_supervised_symbols_keeps_nothing():
    found = keep_most_probable(np.zeros((0, 258)), np.zeros(0), 0.999, 16)
    assert [len(part) for part in found] == [0] * len(found)
    assert [part.shape for part in padded(found, 4)[:3]] == [(0, 4), (0, 4), (0,)]


@given(arrays(np.float32, 20, elements=st.floats(0, 1, width=32)))
@example(np.float32([0, 1, 1e-30, 2**-24, 6e-8, 0.99999, 2**-14]))
@settings(deadline=None, max_examples=200)
def test_a_bound_on_lost_mass_never_gets_smaller_by_storage_and_hardly_larger(lost):
    log_probs = np.full((len(lost), 4), np.log(0.25))
    stored = keep_most_probable(log_probs, lost, 0.9, 2).lost_mass_N.astype(np.float64)
    assert (stored >= lost).all() and (stored <= 1).all()
    assert (stored <= lost * (1 + 2**-3) + 2**-17).all()
    assert (stored[lost == 0] == 0).all()


@given(st.integers(0, 2**32), st.integers(1, 16))
@settings(deadline=None, max_examples=40)
def test_padded_rows_are_normalised_and_near_what_was_scored(seed, at_most):
    p = np.random.default_rng(seed).dirichlet(np.full(30, 0.2), size=5)
    p = (p + 1e-9) / (p + 1e-9).sum(1, keepdims=True)
    stored = keep_most_probable(np.log(p), np.zeros(5), 0.99, at_most)
    symbols, log_probs, log_tail, _ = padded(stored, 20)
    assert symbols.shape == log_probs.shape == (5, 20) and log_tail.shape == (5,)
    np.testing.assert_allclose(np.exp(log_probs).sum(1) + np.exp(log_tail), 1, rtol=1e-5)
    used = log_probs > -np.inf
    assert (symbols[~used] == PAD).all() and (used.sum(1) <= at_most).all()
    true = np.take_along_axis(p, np.where(used, symbols, 0), axis=1)
    # Half a unit in the last of five places is 2^-6 of the logarithm; a row's sum is off by no
    # more.
    most = 2**-6 * np.abs(np.log(p)).max() + 2**-6 * 1.5
    np.testing.assert_allclose(log_probs[used], np.log(true[used]), atol=most)
    np.testing.assert_allclose(np.exp(log_tail), 1 - np.where(used, true, 0).sum(1), atol=0.02)


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
