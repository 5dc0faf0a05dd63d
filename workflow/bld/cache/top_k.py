"""What is stored of distributions over symbols or tokens, and what the trainer reads of it: the
most probable entries and one mass for all the others.

Log-probabilities of symbols are float16 with fewer bits of mantissa than float16 has, which is what
lets zstd bite: with five, storage costs less than a ten-thousandth of the information. The bound on
lost mass is only ever rounded up. Those of tokens are float16 in full: distances between
probabilities, which some methods take, would see the coarser steps.

Shape letters as in `schema`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bld.cache.schema import (
    LOG_PROB_MANTISSA,
    LOST_MASS_MANTISSA,
    StoredBytes,
    StoredTokens,
    columns_of,
    computed,
)
from bld.scoring.token_scores import TokenScores

FLOAT16_MANTISSA = 10
SYMBOL_BITS = 9
ROWS_AT_ONCE = 1024  # so that the copies that are sorted stay in the processor's cache


class Signal(NamedTuple):
    """What the trainer reads of a document: symbols [N, K] (PAD where unused), log-probabilities
    [N, K] (-inf where unused) and log tail mass [N], int64 and float32, all -inf where nothing is
    taught; and, where they are stored, the scores of the teacher's tokens."""

    symbols_NK: np.ndarray
    log_probs_NK: np.ndarray
    log_tail_N: np.ndarray
    tokens: TokenScores[np.ndarray] | None = None


def keep_most_probable(
    log_probs_NS: np.ndarray,
    lost_mass_N: np.ndarray,
    top_p: float,
    top_k: int,
    untaught: Sequence[int] = (),
) -> StoredBytes:
    """Keep the most probable symbols until they hold the mass `top_p`, at most `top_k`; the rest
    becomes the tail. Of two symbols with one probability the smaller comes first.

    `log_probs_NS`: normalised log-probabilities of every symbol. `untaught`: rows that are stored
    as they are, but teach nothing.
    """
    taught_N = np.ones(len(log_probs_NS), np.uint8)
    taught_N[list(untaught)] = 0
    starts = range(0, max(1, len(log_probs_NS)), ROWS_AT_ONCE)
    blocks = [_most_probable(log_probs_NS[i : i + ROWS_AT_ONCE], top_p, top_k) for i in starts]
    kept_N, symbols_F, log_probs_F, log_tail_N = map(np.concatenate, zip(*blocks, strict=True))
    return StoredBytes(
        kept_N=kept_N.astype(np.uint16),
        symbols_F=symbols_F.astype(np.uint16),
        log_probs_F=_rounded(log_probs_F, LOG_PROB_MANTISSA),
        log_tail_N=_rounded(log_tail_N, LOG_PROB_MANTISSA),
        lost_mass_N=_rounded_up(lost_mass_N, LOST_MASS_MANTISSA),
        taught_N=taught_N,
        **computed(log_probs_NS),
    )


def _most_probable(log_probs_NS: np.ndarray, top_p: float, top_k: int) -> tuple[np.ndarray, ...]:
    """kept_N, symbols_F, log_probs_F and log_tail_N, not yet rounded.

    The bits of a float that is not negative grow with it, so (bits of -log p, symbol) is one
    integer to sort by, and without ties.
    """
    bits_NS = np.abs(np.minimum(log_probs_NS, 0), dtype=np.float32).view(np.int32)
    keys_NS = bits_NS.astype(np.int64) << SYMBOL_BITS | np.arange(log_probs_NS.shape[1])
    top_k = min(top_k, log_probs_NS.shape[1])
    keys_NS.partition(top_k - 1, axis=1)
    keys_NS[:, :top_k].sort(axis=1)
    log_probs_NS = -(keys_NS >> SYMBOL_BITS).astype(np.int32).view(np.float32)
    probs_NS = np.exp(log_probs_NS)
    most_NK = probs_NS[:, :top_k].astype(np.float64)
    before_NK = np.cumsum(most_NK, axis=1) - most_NK
    used_NK = (before_NK < top_p) & np.isfinite(log_probs_NS[:, :top_k])
    assert used_NK.any(axis=1).all(), "a distribution has no probability anywhere"
    symbols_NK = keys_NS[:, :top_k] & (1 << SYMBOL_BITS) - 1
    log_probs_F = log_probs_NS[:, :top_k][used_NK]
    probs_NS[:, :top_k][used_NK] = 0
    with np.errstate(divide="ignore"):
        log_tail_N = np.log(probs_NS.sum(axis=1))
    return used_NK.sum(axis=1), symbols_NK[used_NK], log_probs_F, log_tail_N


def _rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """The nearest float16 with `bits` bits of mantissa."""
    step = 1 << (FLOAT16_MANTISSA - bits)
    halves = values.astype(np.float16).view(np.uint16)
    return ((halves + step // 2) & ~np.uint16(step - 1)).view(np.float16)


def _rounded_up(values: np.ndarray, bits: int) -> np.ndarray:
    """The next float16 with `bits` bits of mantissa that is not smaller; `values` >= 0."""
    step = 1 << (FLOAT16_MANTISSA - bits)
    halves = values.astype(np.float16)
    halves = np.where(halves < values, np.nextafter(halves, np.float16(np.inf)), halves)
    return ((halves.view(np.uint16) + (step - 1)) & ~np.uint16(step - 1)).view(np.float16)


def keep_tokens(scores: TokenScores[np.ndarray]) -> StoredTokens:
    """Token scores as they are stored: distributions in float16, without the unused places."""
    with np.errstate(over="ignore"):  # what is less probable than float16 can say is not kept
        log_probs_UK = scores.log_probs_UK.astype(np.float16)
    used_UK = np.isfinite(log_probs_UK)
    return StoredTokens(
        symbol_U=scores.symbol_U,
        count_U=scores.count_U,
        token_U=scores.token_U,
        log_prob_U=scores.log_prob_U,
        kept_U=used_UK.sum(axis=1, dtype=np.int32),
        ids_F=scores.ids_UK[used_UK],
        log_probs_F=log_probs_UK[used_UK],
        log_tail_U=scores.log_tail_U.astype(np.float16),
    )


def padded(
    stored: StoredBytes, width: int, tokens: TokenScores[np.ndarray] | None = None
) -> Signal:
    """A document's distributions with K = `width`, and the scores of its tokens beside them.

    Each distribution is normalised, which takes the rounding out of its sum; those that teach
    nothing have no probability anywhere.
    """
    entries = _padded_entries(stored, stored.kept_N, width)
    log_probs_NK, log_tail_N = _normalised(entries["log_probs_F"], stored.log_tail_N)
    untaught_N = stored.taught_N == 0
    log_probs_NK[untaught_N], log_tail_N[untaught_N] = -np.inf, -np.inf
    return Signal(entries["symbols_F"], log_probs_NK, log_tail_N, tokens)


def padded_tokens(stored: StoredTokens, width: int) -> TokenScores[np.ndarray]:
    """Stored token scores with K = `width`, each distribution normalised."""
    entries = _padded_entries(stored, stored.kept_U, width)
    log_probs_UK, log_tail_U = _normalised(entries["log_probs_F"], stored.log_tail_U)
    return TokenScores(
        symbol_U=stored.symbol_U,
        count_U=stored.count_U,
        token_U=stored.token_U,
        log_prob_U=stored.log_prob_U,
        ids_UK=entries["ids_F"],
        log_probs_UK=log_probs_UK,
        log_tail_U=log_tail_U,
    )


def _padded_entries(
    stored: StoredBytes | StoredTokens, kept: np.ndarray, width: int
) -> dict[str, np.ndarray]:
    """The columns of entries as [.., K] arrays, by field."""
    used = np.arange(width) < kept[:, None]
    entries = {}
    for field, column in columns_of(type(stored)).items():
        if column.padding is not None:
            entries[field] = np.full(used.shape, column.padding)
            entries[field][used] = getattr(stored, field)
    return entries


def _normalised(log_probs: np.ndarray, log_tail: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities [.., K] and the log tails [..], float32, of distributions that sum to 1."""
    log_tail = log_tail.astype(np.float32)
    total = np.log(np.exp(log_probs).sum(axis=1) + np.exp(log_tail))
    return log_probs - total[:, None], log_tail - total
