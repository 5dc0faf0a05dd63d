from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bld.cache.top_k import keep_most_probable, padded
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
    assert [len(part) for part in found] == [0] * 5
    assert [part.shape for part in padded(found, 4)] == [(0, 4), (0, 4), (0,)]


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
    symbols, log_probs, log_tail = padded(
        keep_most_probable(np.log(p), np.zeros(5), 0.99, at_most), 20
    )
    assert symbols.shape == log_probs.shape == (5, 20) and log_tail.shape == (5,)
    np.testing.assert_allclose(np.exp(log_probs).sum(1) + np.exp(log_tail), 1, rtol=1e-5)
    used = log_probs > -np.inf
    assert (symbols[~used] == PAD).all() and (used.sum(1) <= at_most).all()
    true = np.take_along_axis(p, np.where(used, symbols, 0), axis=1)
    # Half a unit in the last of five places is 2^-6 of the logarithm; a row's sum is off by no more.
    most = 2**-6 * np.abs(np.log(p)).max() + 2**-6 * 1.5
    np.testing.assert_allclose(log_probs[used], np.log(true[used]), atol=most)
    np.testing.assert_allclose(np.exp(log_tail), 1 - np.where(used, true, 0).sum(1), atol=0.02)
