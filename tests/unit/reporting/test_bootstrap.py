import math
from functools import cache

import numpy as np
import pytest

from bld.reporting import statistics
from bld.reporting.statistics import CONFIDENCE, SEED, bits_per_byte, ratio

SIZES = np.array([12, 40, 65, 90, 140, 220, 330, 470, 800, 1400])
"""Bytes of documents, as uneven as ours: every one is as likely."""
LEVELS = 3.2 - 0.1 * np.log(SIZES)
"""Bits per byte that are to be expected: short documents are harder."""
SIMULATIONS = 2000

MODULES = {
    **{75: [38790], 31: [10479], 20: [15041], 11: [5523], 10: [5983], 9: [2641]},
    **{7: [4562, 5673], 6: [1329, 7094], 4: [2019, 1793]},
    **{2: [308, 430, 753], 1: [541, 1407, 720, 1225]},
}
"""The modules of the demo's validation split: how many documents, and how many bytes in all."""
BETWEEN, WITHIN = 0.03, 0.08
"""Standard deviations, of modules and of documents in them, of what two models differ by, in bits
per byte: such that intervals over documents are as wide as the demo's were."""


def alone(count):
    """Every document is a group."""
    return np.arange(count)


def documents(rng, count, difference, spread):
    bytes_D = rng.integers(50, 1500, count)
    nats_D = rng.normal(difference, spread, count) * bytes_D * math.log(2)
    return nats_D, bytes_D, alone(count)


class DrawnOnce:
    """The generator of the bootstrap, whose draws depend on the number of groups alone: they are
    made once, so that thousands of simulations take seconds."""

    @staticmethod
    @cache
    def _draw(groups, size):
        draws = np.random.Generator(np.random.PCG64(SEED))
        return draws.multinomial(groups, np.full(groups, 1 / groups), size).astype(float)

    def multinomial(self, groups, shares, size):
        return self._draw(groups, size)


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
    return levels_D * SIZES[which_D], SIZES[which_D], alone(count)


def paired_differences(rng, count):
    """What two models differ by: they share how hard a document is, and one is better by 0.05, long
    documents more."""
    which_D = rng.integers(0, len(SIZES), count)
    sizes_D, hard_D = SIZES[which_D], rng.normal(0, 0.35, count)
    gain_D = 0.02 * np.log(sizes_D)
    ours_D = LEVELS[which_D] - gain_D + hard_D + rng.normal(0, 0.08, count)
    theirs_D = LEVELS[which_D] + hard_D + rng.normal(0, 0.08, count)
    return ours_D * sizes_D - theirs_D * sizes_D, sizes_D, alone(count)


def of_modules(rng, count):
    """Two models that do not differ, on the demo's documents: those of a module shift alike."""
    documents_G, bytes_G = np.array([(n, size) for n, sizes in MODULES.items() for size in sizes]).T
    group_D = np.repeat(alone(len(bytes_G)), documents_G)
    assert len(group_D) == count
    sizes_D = (bytes_G / documents_G)[group_D] * rng.lognormal(0, 0.5, count)
    gaps_D = rng.normal(0, BETWEEN, len(bytes_G))[group_D] + rng.normal(0, WITHIN, count)
    return gaps_D * sizes_D, sizes_D, group_D


def taken_for_independent(rng, count):
    totals_D, sizes_D, _ = of_modules(rng, count)
    return totals_D, sizes_D, alone(count)


def like_groups(rng, count):
    """Groups of one size, each with one document."""
    return rng.normal(0, 1, count), np.ones(count), alone(count)


def test_bits_per_byte_are_total_nats_over_total_bytes_in_bits():
    estimate = bits_per_byte([math.log(2) * 30, math.log(2) * 10], [10, 10], ["a", "b"])
    assert estimate.value == pytest.approx(2.0)


def test_a_ratio_weighs_documents_by_their_size():
    assert ratio([1.0, 30.0], [1, 9], ["a", "b"]).value == pytest.approx(3.1)


def test_an_interval_agrees_with_the_linearised_error_of_a_ratio():
    nats_D, bytes_D, groups_D = documents(np.random.default_rng(0), 2000, 2.0, 0.5)
    residuals_D = nats_D - bytes_D * nats_D.sum() / bytes_D.sum()
    error = math.sqrt((residuals_D**2).sum()) / bytes_D.sum() / math.log(2)
    estimate = bits_per_byte(nats_D, bytes_D, groups_D)
    assert estimate.value - estimate.low == pytest.approx(1.96 * error, rel=0.08)
    assert estimate.high - estimate.value == pytest.approx(1.96 * error, rel=0.08)


def test_every_resample_is_one_of_those_that_two_documents_allow(monkeypatch):
    monkeypatch.setattr(statistics, "MIN_GROUPS", 2)
    estimate = bits_per_byte([math.log(2), 3 * math.log(2)], [1, 1], ["a", "b"])
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx((1.0, 2.0, 3.0))


def test_no_difference_gives_an_interval_that_holds_zero():
    estimate = bits_per_byte(*documents(np.random.default_rng(1), 100, 0.0, 0.2))
    assert estimate.low < 0 < estimate.high
    assert not estimate.excludes_zero


@pytest.mark.parametrize("shift", [-0.3, 0.3])
def test_a_clear_shift_gives_an_interval_around_it_and_away_from_zero(shift):
    estimate = bits_per_byte(*documents(np.random.default_rng(2), 100, shift, 0.2))
    assert estimate.low < shift < estimate.high
    assert estimate.excludes_zero


def test_an_interval_that_ends_at_zero_holds_it(monkeypatch):
    monkeypatch.setattr(statistics, "MIN_GROUPS", 2)
    estimate = ratio([0.0, 1.0], [1, 1], ["a", "b"])
    assert estimate.low == 0
    assert not estimate.excludes_zero


def test_draws_that_are_made_once_change_no_interval(monkeypatch):
    sample = whole_models(np.random.default_rng(8), 30)
    drawn_anew = ratio(*sample)
    monkeypatch.setattr(np.random, "default_rng", lambda seed: DrawnOnce())
    assert ratio(*sample) == pytest.approx(drawn_anew)


# As many as the demo has documents, and as few groups as the report gives intervals for without a
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


def test_groups_whose_documents_resemble_each_other_need_intervals_over_groups(drawn_once):
    assert coverage(9, of_modules, 0) >= 0.90
    assert coverage(9, taken_for_independent, 0) < 0.80


def test_few_groups_have_wider_intervals_that_hold_the_truth_more_often(drawn_once, monkeypatch):
    """As Student's t has them; plain percentiles of five groups hold it 85 times in a hundred."""
    assert coverage(10, like_groups, 0, 5) >= 0.90
    sample = like_groups(np.random.Generator(np.random.PCG64(11)), 5)
    widened = ratio(*sample)
    monkeypatch.setattr(statistics, "_tail", lambda groups: (1 - CONFIDENCE) / 2)
    plain = ratio(*sample)
    assert widened.low < plain.low < plain.high < widened.high
    assert coverage(10, like_groups, 0, 5) < 0.88


def test_a_group_is_drawn_as_one_document_that_holds_all_of_its_own():
    totals_D, sizes_D, group_D = of_modules(np.random.default_rng(12), 200)
    sums = (np.bincount(group_D, weights=of_D) for of_D in (totals_D, sizes_D))
    assert ratio(totals_D, sizes_D, group_D) == pytest.approx(ratio(*sums, alone(19)))


def test_the_same_groups_give_the_same_interval_whatever_the_order_of_their_documents():
    sample = of_modules(np.random.default_rng(7), 200)
    order_D = np.random.default_rng(8).permutation(len(sample[0]))
    assert ratio(*sample) == ratio(*sample)
    assert ratio(*(of_D[order_D] for of_D in sample)) == pytest.approx(ratio(*sample))


@pytest.mark.parametrize("groups", ["a", "aaa", "ab", "abcd", "abcdabcd"])
def test_fewer_than_five_groups_leave_the_interval_unknown_and_never_exclude_zero(groups):
    count = len(groups)
    estimate = bits_per_byte([5.0] * count, [10] * count, list(groups))
    assert estimate.value == pytest.approx(0.5 / math.log(2))
    assert math.isnan(estimate.low) and math.isnan(estimate.high)
    assert not estimate.excludes_zero
