"""What is kept of a byte distribution: the most probable symbols, one mass for all the others, and how
much mass was lost on the way.

Log-probabilities are float16 with fewer bits of mantissa than float16 has, which is what lets zstd
bite: with five, storage costs less than a ten-thousandth of the information. The lost mass is an
upper bound, so it is only ever rounded up.

Shape letters: N supervised symbols of a document, S symbols, K symbols kept at most, F kept symbols of
a whole document, end to end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bld.symbols import PAD

LOG_PROB_BITS = 5
LOST_MASS_BITS = 3
FLOAT16_BITS = 10
SYMBOL_BITS = 9
ROWS_AT_ONCE = 1024  # so that the copies that are sorted stay in the processor's cache


class Distributions(NamedTuple):
    """A document's byte distributions as they are kept.

    kept_N symbols each; symbols_F and log_probs_F end to end, the most probable first; log_tail_N
    is -inf where nothing is left over; lost_mass_N between 0 and 1.
    """

    kept_N: np.ndarray
    symbols_F: np.ndarray
    log_probs_F: np.ndarray
    log_tail_N: np.ndarray
    lost_mass_N: np.ndarray


def keep_most_probable(
    log_probs_NS: np.ndarray, lost_mass_N: np.ndarray, mass: float, at_most: int
) -> Distributions:
    """Keep the most probable symbols until they hold `mass`, `at_most` of them; the rest becomes
    the tail. Of two symbols with one probability the smaller comes first.

    `log_probs_NS`: normalised log-probabilities of every symbol.
    """
    starts = range(0, max(1, len(log_probs_NS)), ROWS_AT_ONCE)
    slabs = [_kept(log_probs_NS[i : i + ROWS_AT_ONCE], mass, at_most) for i in starts]
    kept_N, symbols_F, log_probs_F, log_tail_N = map(np.concatenate, zip(*slabs, strict=True))
    return Distributions(
        kept_N=kept_N.astype(np.uint16),
        symbols_F=symbols_F.astype(np.uint16),
        log_probs_F=_rounded(log_probs_F, LOG_PROB_BITS),
        log_tail_N=_rounded(log_tail_N, LOG_PROB_BITS),
        lost_mass_N=_rounded_up(lost_mass_N, LOST_MASS_BITS),
    )


def _kept(log_probs_NS: np.ndarray, mass: float, at_most: int) -> tuple[np.ndarray, ...]:
    """kept_N, symbols_F, log_probs_F and log_tail_N, not yet rounded.

    The bits of a float that is not negative grow with it, so (bits of -log p, symbol) is one integer
    to sort by, and without ties.
    """
    bits_NS = np.abs(np.minimum(log_probs_NS, 0), dtype=np.float32).view(np.int32)
    keys_NS = bits_NS.astype(np.int64) << SYMBOL_BITS | np.arange(log_probs_NS.shape[1])
    at_most = min(at_most, log_probs_NS.shape[1])
    keys_NS.partition(at_most - 1, axis=1)
    keys_NS[:, :at_most].sort(axis=1)
    log_probs_NS = -(keys_NS >> SYMBOL_BITS).astype(np.int32).view(np.float32)
    probs_NS = np.exp(log_probs_NS)
    top_NK = probs_NS[:, :at_most].astype(np.float64)
    before_NK = np.cumsum(top_NK, axis=1) - top_NK
    used_NK = (before_NK < mass) & np.isfinite(log_probs_NS[:, :at_most])
    assert used_NK.any(axis=1).all(), "a distribution has no probability anywhere"
    symbols_NK = keys_NS[:, :at_most] & (1 << SYMBOL_BITS) - 1
    log_probs_F = log_probs_NS[:, :at_most][used_NK]
    probs_NS[:, :at_most][used_NK] = 0
    with np.errstate(divide="ignore"):
        log_tail_N = np.log(probs_NS.sum(axis=1))
    return used_NK.sum(axis=1), symbols_NK[used_NK], log_probs_F, log_tail_N


def _rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """The nearest float16 with `bits` bits of mantissa."""
    step = 1 << (FLOAT16_BITS - bits)
    halves = values.astype(np.float16).view(np.uint16)
    return ((halves + step // 2) & ~np.uint16(step - 1)).view(np.float16)


def _rounded_up(values: np.ndarray, bits: int) -> np.ndarray:
    """The next float16 with `bits` bits of mantissa that is not smaller; `values` >= 0."""
    step = 1 << (FLOAT16_BITS - bits)
    halves = values.astype(np.float16)
    halves = np.where(halves < values, np.nextafter(halves, np.float16(np.inf)), halves)
    return ((halves.view(np.uint16) + (step - 1)) & ~np.uint16(step - 1)).view(np.float16)


def padded(found: Distributions, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A document's distributions as rectangular arrays with K = `width`: symbols [N, K] (PAD where
    unused), log-probabilities [N, K] (-inf where unused) and log tail mass [N], int64 and float32.

    Each row is normalised, which takes the rounding out of its sum.
    """
    used_NK = np.arange(width) < found.kept_N[:, None]
    symbols_NK = np.full(used_NK.shape, PAD, np.int64)
    log_probs_NK = np.full(used_NK.shape, -np.inf, np.float32)
    symbols_NK[used_NK] = found.symbols_F
    log_probs_NK[used_NK] = found.log_probs_F
    log_tail_N = found.log_tail_N.astype(np.float32)
    total_N = np.log(np.exp(log_probs_NK).sum(axis=1) + np.exp(log_tail_N))
    return symbols_NK, log_probs_NK - total_N[:, None], log_tail_N - total_N
