import numpy as np
import pytest

from bld.cache.tails import TailSums, read_shape, spread_tails
from bld.cache.top_k import keep_most_probable

RANDOM = np.random.default_rng(0)
SHAPES = RANDOM.dirichlet(np.full(258, 0.3), size=2) + 1e-6  # one for each most probable symbol
FIRST = (32, 256)


def with_known_tails(rows):
    """Distributions of which a known symbol and three at random are probable; all others share out
    what is left in the shape that belongs to the most probable one."""
    log_probs = []
    for _ in range(rows):
        which = RANDOM.integers(2)
        p = SHAPES[which] * 0.3
        others = RANDOM.choice(255, 3, replace=False)
        p[others[others != 32]] = 0.1
        p[FIRST[which]] = 0.5
        log_probs.append(np.log(p / p.sum()))
    return np.array(log_probs, np.float32)


def keep(log_probs):
    return keep_most_probable(log_probs, np.zeros(len(log_probs)), 1.0, 4)


@pytest.fixture(scope="module")
def shape():
    sums = TailSums()
    for _ in range(20):
        log_probs = with_known_tails(800)
        sums.add(log_probs, keep(log_probs))
    return read_shape(sums.shape())


def test_tails_are_spread_in_the_shape_that_belongs_to_the_most_probable_symbol(shape):
    dense = with_known_tails(400)
    spread = spread_tails(keep(dense), shape)
    np.testing.assert_allclose(np.exp(spread).sum(1), 1, rtol=1e-6)
    divergence = (np.exp(dense) * (dense - spread)).sum(1).mean()
    evenly = (np.exp(dense) * (dense - spread_tails(keep(dense), np.zeros_like(shape)))).sum(1)
    assert divergence < 2e-3 < 0.01 * evenly.mean()


def test_what_is_kept_and_the_mass_of_the_tail_stay_as_they_are_stored(shape):
    found = keep(with_known_tails(50))
    spread = spread_tails(found, shape).astype(np.float64)
    symbols, stored = found.symbols_F.reshape(50, 4), found.log_probs_F.reshape(50, 4)
    kept = np.take_along_axis(spread, symbols.astype(np.int64), axis=1)
    tail = np.log1p(-np.exp(kept).sum(1))
    # All of a row is divided by one number, its sum before rounding was taken out.
    np.testing.assert_allclose(kept[:, 1:] - kept[:, :1], stored[:, 1:] - stored[:, :1], atol=2e-3)
    np.testing.assert_allclose(tail - kept[:, 0], found.log_tail_N - stored[:, 0], atol=2e-3)


def test_a_symbol_that_was_never_in_a_tail_still_gets_a_share():
    p = np.full((8, 258), 1e-12)
    p[:, 65] = 1
    log_probs = np.log(p / p.sum(1, keepdims=True))
    sums = TailSums()
    sums.add(log_probs, keep(log_probs))
    other = np.roll(log_probs, 1, axis=1)
    assert np.isfinite(spread_tails(keep(other), read_shape(sums.shape()))).all()


def test_sums_over_parts_add_up_after_a_stay_on_disk():
    first, second = with_known_tails(80), with_known_tails(160)
    whole, together = TailSums(), TailSums()
    for log_probs in (first, second):
        part = TailSums()
        whole.add(log_probs, keep(log_probs))
        part.add(log_probs, keep(log_probs))
        together += TailSums.unpacked(part.packed())
    np.testing.assert_allclose(together.mass_SS, whole.mass_SS, rtol=1e-4)
    np.testing.assert_allclose(together.room_SS, whole.room_SS, rtol=1e-4)
    assert whole.room_SS.sum() > 0


def test_damaged_sums_are_refused():
    text = TailSums().packed()
    with pytest.raises(ValueError, match="damaged"):
        TailSums.unpacked(text[:-8])
