import math

import numpy as np
import pytest

from bld.reporting.statistics import bits_per_byte


def documents(rng, count, difference, spread):
    bytes_D = rng.integers(50, 1500, count)
    return rng.normal(difference, spread, count) * bytes_D * math.log(2), bytes_D


def test_bits_per_byte_are_total_nats_over_total_bytes_in_bits():
    estimate = bits_per_byte(np.array([math.log(2) * 30, math.log(2) * 10]), np.array([10, 10]))
    assert estimate.value == pytest.approx(2.0)


def test_an_interval_agrees_with_the_linearised_error_of_a_ratio():
    nats_D, bytes_D = documents(np.random.default_rng(0), 2000, 2.0, 0.5)
    residuals_D = nats_D - bytes_D * nats_D.sum() / bytes_D.sum()
    error = math.sqrt((residuals_D**2).sum()) / bytes_D.sum() / math.log(2)
    estimate = bits_per_byte(nats_D, bytes_D)
    assert estimate.value - estimate.low == pytest.approx(1.96 * error, rel=0.08)
    assert estimate.high - estimate.value == pytest.approx(1.96 * error, rel=0.08)


def test_every_resample_is_one_of_those_that_two_documents_allow():
    estimate = bits_per_byte(np.array([math.log(2), 3 * math.log(2)]), np.array([1, 1]))
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx((1.0, 2.0, 3.0))


def test_no_difference_gives_an_interval_that_holds_zero():
    nats_D, bytes_D = documents(np.random.default_rng(1), 100, 0.0, 0.2)
    estimate = bits_per_byte(nats_D, bytes_D)
    assert estimate.low < 0 < estimate.high
    assert not estimate.excludes_zero


@pytest.mark.parametrize("shift", [-0.3, 0.3])
def test_a_clear_shift_gives_an_interval_around_it_and_away_from_zero(shift):
    nats_D, bytes_D = documents(np.random.default_rng(2), 100, shift, 0.2)
    estimate = bits_per_byte(nats_D, bytes_D)
    assert estimate.low < shift < estimate.high
    assert estimate.excludes_zero


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(4)
    simulations = 600
    estimates = (
        bits_per_byte(*documents(rng, 120, 0.05, 0.3), resamples=400) for _ in range(simulations)
    )
    covered = sum(estimate.low <= 0.05 <= estimate.high for estimate in estimates)
    assert 0.92 <= covered / simulations <= 0.98


def test_one_document_leaves_the_interval_unknown_and_never_excludes_zero():
    estimate = bits_per_byte(np.array([5.0]), np.array([10]))
    assert math.isnan(estimate.low) and math.isnan(estimate.high)
    assert not estimate.excludes_zero
