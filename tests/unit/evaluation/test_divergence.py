import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.evaluation.measures import (
    entropy,
    jensen_shannon,
    kullback_leibler,
    total_variation,
)


@st.composite
def pairs(draw):
    """Two distributions over six symbols, some of them impossible."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    p, q = random.dirichlet(np.full(6, 0.5), size=2)
    for distribution in (p, q):
        distribution[random.random(6) < 0.3] = 0
        distribution[random.integers(6)] += 0.1
        distribution /= distribution.sum()
    return p, q


def log(p):
    with np.errstate(divide="ignore"):
        return np.log(p)[None]


def kl_by_hand(p, q):
    return sum(a * math.log(a / b) if b else math.inf for a, b in zip(p, q, strict=True) if a)


@given(pairs())
@settings(deadline=None)
def test_both_divergences_are_their_sums(pair):
    p, q = pair
    middle = (p + q) / 2
    jsd = (kl_by_hand(p, middle) + kl_by_hand(q, middle)) / 2
    assert kullback_leibler(log(p), log(q))[0] == pytest.approx(kl_by_hand(p, q), abs=1e-12)
    assert jensen_shannon(log(p), log(q))[0] == pytest.approx(jsd, abs=1e-12)


@given(pairs())
@settings(deadline=None)
def test_jensen_shannon_is_symmetric_and_between_nothing_and_the_logarithm_of_two(pair):
    p, q = map(log, pair)
    found = jensen_shannon(p, q)[0]
    assert found == pytest.approx(jensen_shannon(q, p)[0])
    assert -1e-12 <= found <= math.log(2) + 1e-12
    assert kullback_leibler(p, p)[0] == 0
    assert jensen_shannon(p, p)[0] == pytest.approx(0, abs=1e-12)


def test_distributions_without_a_common_symbol_are_a_logarithm_of_two_apart():
    p, q = log(np.array([0.3, 0.7, 0, 0])), log(np.array([0, 0, 0.5, 0.5]))
    assert jensen_shannon(p, q)[0] == pytest.approx(math.log(2))
    assert kullback_leibler(p, q)[0] == math.inf


@given(pairs())
@settings(deadline=None)
def test_total_variation_and_entropy_are_their_sums(pair):
    p, q = pair
    by_hand = sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2
    assert total_variation(log(p), log(q))[0] == pytest.approx(by_hand, abs=1e-12)
    assert entropy(log(p))[0] == pytest.approx(-sum(a * math.log(a) for a in p if a), abs=1e-12)


@given(pairs())
@settings(deadline=None)
def test_the_jensen_shannon_divergence_is_bounded_by_total_variation(pair):
    # Lin, "Divergence measures based on the Shannon entropy" (1991), theorem 3.
    p, q = map(log, pair)
    assert jensen_shannon(p, q)[0] <= math.log(2) * total_variation(p, q)[0] + 1e-12
