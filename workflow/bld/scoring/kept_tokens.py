"""What is kept of the teacher's tokens: what it says at each token of its own encoding of a document.

Rivals of the byte interface compare tokens, so beside its byte distributions a teacher can leave, at
every supervised token, the probability of that token, the most probable ones and one mass for all
the others. Log-probabilities are float16, in full: distances between probabilities, which some
rivals take, would see the coarser steps that are good enough for bytes.

Shape letters: U supervised tokens of a document, K tokens kept at most, F kept tokens of a whole
document, end to end, N supervised symbols.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class TokenRows(NamedTuple):
    """What a teacher says at the supervised tokens of its own encoding, in their order: content tokens
    and the end tokens of turns.

    Token u is `token_U` (int32) and spells `count_U` (int32) symbols from supervised symbol
    `symbol_U` (int32) on. `log_prob_U`: float32, its log-probability given all before it. `ids_UK`:
    int32, the most probable tokens, falling (-1 where unused); `log_probs_UK`: float32 (-inf where
    unused); `log_tail_U`: float32, all the others together (-inf where nothing is left).
    Probabilities are among the entries that the tokenizer has.
    """

    symbol_U: np.ndarray
    count_U: np.ndarray
    token_U: np.ndarray
    log_prob_U: np.ndarray
    ids_UK: np.ndarray
    log_probs_UK: np.ndarray
    log_tail_U: np.ndarray


class Signal(NamedTuple):
    """What the trainer reads of a document: symbols [N, K] (PAD where unused), log-probabilities
    [N, K] (-inf where unused) and log tail mass [N], and, where they are kept, the tokens."""

    symbols_NK: np.ndarray
    log_probs_NK: np.ndarray
    log_tail_N: np.ndarray
    tokens: TokenRows | None = None


class KeptTokens(NamedTuple):
    """Token rows as they are kept: `kept_U` tokens each, `ids_F` and `log_probs_F` end to end; the
    rest as in `TokenRows`."""

    symbol_U: np.ndarray
    count_U: np.ndarray
    token_U: np.ndarray
    log_prob_U: np.ndarray
    kept_U: np.ndarray
    ids_F: np.ndarray
    log_probs_F: np.ndarray
    log_tail_U: np.ndarray


def keep_tokens(rows: TokenRows) -> KeptTokens:
    """Rows as they are kept: their distributions in float16, without the places that are unused."""
    with np.errstate(over="ignore"):  # what is less probable than float16 can say is not kept
        log_probs_UK = rows.log_probs_UK.astype(np.float16)
    used_UK = np.isfinite(log_probs_UK)
    return KeptTokens(
        *rows[:4],
        kept_U=used_UK.sum(axis=1, dtype=np.int32),
        ids_F=rows.ids_UK[used_UK],
        log_probs_F=log_probs_UK[used_UK],
        log_tail_U=rows.log_tail_U.astype(np.float16),
    )


def padded_tokens(found: KeptTokens, width: int) -> TokenRows:
    """What is kept as rectangular arrays with K = `width`.

    Each distribution is normalised, which takes the rounding out of its sum.
    """
    used_UK = np.arange(width) < found.kept_U[:, None]
    ids_UK = np.full(used_UK.shape, -1, np.int32)
    log_probs_UK = np.full(used_UK.shape, -np.inf, np.float32)
    ids_UK[used_UK] = found.ids_F
    log_probs_UK[used_UK] = found.log_probs_F
    log_tail_U = found.log_tail_U.astype(np.float32)
    total_U = np.log(np.exp(log_probs_UK).sum(axis=1) + np.exp(log_tail_U))
    return TokenRows(*found[:4], ids_UK, log_probs_UK - total_U[:, None], log_tail_U - total_U)
