import math
from functools import cache

import numpy as np
import pytest

from bld.reporting.statistics import SEED, bits_per_byte, ratio

SIZES = np.array([12, 40, 65, 90, 140, 220, 330, 470, 800, 1400])
"""Bytes of documents, as uneven as ours: every one is as likely."""
LEVELS = 3.2 - 0.1 * np.log(SIZES)
"""Bits per byte that are to be expected: short documents are harder."""
SIMULATIONS = 2000


def documents(rng, count, difference, spread):
    bytes_D = rng.integers(50, 1500, count)
    return rng.normal(difference, spread, count) * bytes_D * math.log(2), bytes_D


class DrawnOnce:
    """The generator of the bootstrap, whose draws depend on the number of documents alone: they are
    made once, so that thousands of simulations take seconds."""

    @staticmethod
    @cache
    def _draw(documents, size):
        draws = np.random.Generator(np.random.PCG64(SEED))
        return draws.multinomial(documents, np.full(documents, 1 / documents), size).astype(float)

    def multinomial(self, documents, shares, size):
        return self._draw(documents, size)


@pytest.fixture
def drawn_once(monkeypatch):
    monkeypatch.setattr(np.random, "default_rng", lambda seed: DrawnOnce())


def coverage(seed, simulate, truth, count=200):
    """Share of the intervals that hold the truth."""
    rng = np.random.Generator(np.random.PCG64(seed))
    estimates = (ratio(*simulate(rng, count)) for _ in range(SIMULATIONS))
    return sum(estimate.low <= truth <= estimate.high for estimate in estimates) / SIMULATIONS


def whole_models(rng, count):
    """Totals in bits: the bytes of a document hang together, so its level as a whole varies."""
    which_D = rng.integers(0, len(SIZES), count)
    levels_D = LEVELS[which_D] + rng.normal(0, 0.35, count)
    return levels_D * SIZES[which_D], SIZES[which_D]


def paired_differences(rng, count):
    """What two models differ by: they share how hard a document is, and one is better by 0.05, long
    documents more."""
    which_D = rng.integers(0, len(SIZES), count)
    sizes_D, hard_D = SIZES[which_D], rng.normal(0, 0.35, count)
    gain_D = 0.02 * np.log(sizes_D)
    ours_D = LEVELS[which_D] - gain_D + hard_D + rng.normal(0, 0.08, count)
    theirs_D = LEVELS[which_D] + hard_D + rng.normal(0, 0.08, count)
    return ours_D * sizes_D - theirs_D * sizes_D, sizes_D


def test_bits_per_byte_are_total_nats_over_total_bytes_in_bits():
    estimate = bits_per_byte(np.array([math.log(2) * 30, math.log(2) * 10]), np.array([10, 10]))
    assert estimate.value == pytest.approx(2.0)


def test_a_ratio_weighs_documents_by_their_size():
    assert ratio(np.array([1.0, 30.0]), np.array([1, 9])).value == pytest.approx(3.1)


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


def test_an_interval_that_ends_at_zero_holds_it():
    estimate = ratio(np.array([0.0, 1.0]), np.array([1, 1]))
    assert estimate.low == 0
    assert not estimate.excludes_zero


def test_draws_that_are_made_once_change_no_interval(monkeypatch):
    sample = whole_models(np.random.default_rng(8), 30)
    drawn_anew = ratio(*sample)
    monkeypatch.setattr(np.random, "default_rng", lambda seed: DrawnOnce())
    assert ratio(*sample) == pytest.approx(drawn_anew)


# As many as the demo has to judge by, and as few as the report gives intervals for without a
# warning.
@pytest.mark.parametrize("count", [200, 100])
def test_intervals_of_a_model_cover_the_truth_as_often_as_they_say(drawn_once, count):
    truth = (LEVELS * SIZES).sum() / SIZES.sum()
    assert 0.93 <= coverage(4, whole_models, truth, count) <= 0.97


@pytest.mark.parametrize("count", [200, 100])
def test_intervals_of_paired_differences_cover_the_truth_as_often_as_they_say(drawn_once, count):
    truth = -(0.02 * np.log(SIZES) * SIZES).sum() / SIZES.sum()
    assert 0.93 <= coverage(5, paired_differences, truth, count) <= 0.97


def test_paired_intervals_are_narrower_than_those_of_the_models_by_themselves():
    rng = np.random.default_rng(6)
    paired, alone = (ratio(*draw(rng, 60)) for draw in (paired_differences, whole_models))
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)


def test_the_same_documents_give_the_same_interval():
    totals_D, sizes_D = whole_models(np.random.default_rng(7), 30)
    assert ratio(totals_D, sizes_D) == ratio(totals_D, sizes_D)


def test_one_document_leaves_the_interval_unknown_and_never_excludes_zero():
    estimate = bits_per_byte(np.array([5.0]), np.array([10]))
    assert math.isnan(estimate.low) and math.isnan(estimate.high)
    assert not estimate.excludes_zero
