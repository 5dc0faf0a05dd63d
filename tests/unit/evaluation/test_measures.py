"""Distances, entropies and calibration of byte distributions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.evaluation.measures import (
    BINS,
    entropy,
    jensen_shannon,
    kullback_leibler,
    reliability,
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


def by_hand(confidence, right):
    """The bins and the expected calibration error, symbol by symbol."""
    bins = {}
    for sure, is_right in zip(confidence, right, strict=True):
        number = next(n for n in reversed(range(BINS)) if sure >= n / BINS)
        bins.setdefault(number, []).append((sure, is_right))
    means = {n: [sum(part) / len(part) for part in zip(*bins[n], strict=True)] for n in bins}
    error = sum(abs(a - b) * len(bins[n]) for n, (a, b) in means.items()) / len(confidence)
    return {n: (len(bins[n]), *means[n]) for n in sorted(bins)}, error


@given(st.lists(st.tuples(st.integers(0, 64), st.booleans()), min_size=1, max_size=40))
@settings(deadline=None)
def test_bins_and_error_are_their_sums(symbols):
    confidence = np.array([eighth / 64 for eighth, _ in symbols])
    right = np.array([is_right for _, is_right in symbols])
    found = reliability(confidence, right)
    bins, error = by_hand(confidence, right)
    assert [(row["low"], row["high"]) for row in found["calibration"]] == [
        (n / 10, (n + 1) / 10) for n in bins
    ]
    rows = [[row[k] for k in ("symbols", "confidence", "accuracy")] for row in found["calibration"]]
    assert rows == [pytest.approx(list(row)) for row in bins.values()]
    assert found["calibration_error"] == pytest.approx(error)


@pytest.fixture
def simulated():
    """(sharpness) -> confidences and hits of a model whose true symbols are drawn from rows that
    are raised to this power before it shows them."""

    def draw(sharpness):
        random = np.random.default_rng(0)
        p = random.dirichlet(np.full(5, 0.4), size=100_000)
        true = (p.cumsum(1) > random.random((len(p), 1))).argmax(1)
        shown = p**sharpness / (p**sharpness).sum(1, keepdims=True)
        best = shown.argmax(1)
        return shown.max(1), best == true

    return draw


def test_a_model_whose_symbols_are_drawn_from_its_own_distributions_is_calibrated(simulated):
    found = reliability(*simulated(1))
    # Of n symbols a bin's accuracy errs by about sqrt(1 / (4 n)).
    assert found["calibration_error"] < 5 / np.sqrt(4 * 100_000 / BINS)
    for row in found["calibration"]:
        assert row["accuracy"] == pytest.approx(row["confidence"], abs=2.5 / row["symbols"] ** 0.5)


@pytest.mark.parametrize(("sharpness", "is_surer"), [(3, True), (0.3, False)])
def test_a_model_that_shows_sharper_distributions_is_too_sure_and_a_flatter_one_too_little(
    simulated, sharpness, is_surer
):
    found = reliability(*simulated(sharpness))
    rows = [row for row in found["calibration"] if row["symbols"] > 1000]
    assert {row["confidence"] > row["accuracy"] for row in rows} == {is_surer}
    assert found["calibration_error"] > 0.05


def test_certainty_falls_into_the_last_bin_and_being_sure_of_what_is_wrong_costs_all_of_it():
    found = reliability(np.array([1.0, 1.0000001, 1.0]), np.zeros(3, bool))
    [row] = found["calibration"]
    assert (row["low"], row["high"], row["symbols"], row["accuracy"]) == (0.9, 1.0, 3, 0)
    assert found["calibration_error"] == pytest.approx(1)
