import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.evaluation.measures import BINS, reliability


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
    """(sharpness) -> confidences and hits of a model whose true symbols are drawn from rows that are
    raised to this power before it shows them."""

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
