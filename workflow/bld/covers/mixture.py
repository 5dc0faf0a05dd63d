"""From histories to bytes: what every alive history says about the next byte, weighed and summed.

A history is a sequence of committed tokens that ends at byte `start` of the text. At a byte
n >= start it is alive while text[start:n] is a path in the trie; there it gives mass
w(history) * sum of p(v | history) to the next byte, over the tokens v that spell text[start:n] and
at least one byte more. At its own start it also tells END and SPECIAL. The byte distribution is the
sum over the alive histories, normalised (Eq. 3 of arXiv 2604.07466 when all histories are given).
Which histories are given is a policy's business; here they are only summed.

Shapes: R histories, B some of them, V vocabulary, I sorted tokens of the trie, A (history, byte)
pairs alive, N bytes of the text and its end, S symbols (258).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bld.covers.trie import TRIE_SYMBOLS, Alive, Trie, ragged_range

BLOCK_ELEMENTS = 1 << 17  # probabilities held at a time: they stay in a core's cache


class Histories(NamedTuple):
    """R histories as a tree: history r is history parent_R[r] and one more token, token_R[r].

    `start_R`: the byte of the text at which each ends. `log_weight_R`: its log-probability, finite,
    float64. The empty history has parent -1 and token -1.
    """

    start_R: np.ndarray
    log_weight_R: np.ndarray
    parent_R: np.ndarray
    token_R: np.ndarray


def mix(
    trie: Trie, log_probs_RV: np.ndarray, histories: Histories, text: bytes
) -> tuple[np.ndarray, np.ndarray]:
    """Byte distributions over the given histories, and the share of mass that leaves them.

    Row r of `log_probs_RV` is the normalised log-distribution of the token after history r.

    Returns log P(symbol | text[:n]) [N, S] and lost [N], both float64. lost[n] is the mass of the
    tokens that end exactly at byte n, from a history alive there, and do not lead to one of the
    histories; over that mass plus the mass that the histories have at n. It is only what is dropped
    at that byte: what was dropped earlier and would still matter at n is not in it, so it is no
    bound on the error.
    """
    alive = trie.walk(text, histories.start_R)
    size_N = len(text) + 1
    pair, symbol, mass = symbol_masses(trie, log_probs_RV, alive)
    with np.errstate(divide="ignore"):
        log_mass = histories.log_weight_R[alive.history_A[pair]] + np.log(mass)
    cell = alive.position_A[pair] * TRIE_SYMBOLS + symbol
    log_mass_NS = _log_sum_exp_by(cell, log_mass, size_N * TRIE_SYMBOLS).reshape(size_N, -1)
    log_mass_N = np.logaddexp.reduce(log_mass_NS, axis=1)
    assert np.isfinite(log_mass_N).all(), "a byte of the text has no mass under any history"
    log_dropped_N = _log_dropped(trie, log_probs_RV, histories, alive, size_N)
    lost_N = np.exp(log_dropped_N - np.logaddexp(log_dropped_N, log_mass_N))
    return log_mass_NS - log_mass_N[:, None], lost_N


def symbol_masses(
    trie: Trie, log_probs_RV: np.ndarray, alive: Alive
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sum of p(v | history) by next symbol, float64, unweighted, for every alive pair.

    Returns, for every pair and edge of its node: index of the pair, symbol, mass.
    """
    rows_at_once = max(1, BLOCK_ELEMENTS // len(trie.ids_I))
    parts = []
    for first in range(0, len(log_probs_RV), rows_at_once):
        last = min(first + rows_at_once, len(log_probs_RV))
        probs = _sorted_probabilities(trie, log_probs_RV[first:last], first)
        chosen = np.flatnonzero((first <= alive.history_A) & (alive.history_A < last))
        row_A, node_A = alive.history_A[chosen] - first, alive.node_A[chosen]
        pair, symbol, mass = _range_sums(trie, probs, row_A, node_A)
        parts.append((chosen[pair], symbol, mass))
    pair, symbol, mass = (np.concatenate(column) for column in zip(*parts, strict=True))
    return pair, symbol, mass


def _sorted_probabilities(trie: Trie, log_probs_BV: np.ndarray, first_row: int) -> np.ndarray:
    """Probabilities in the trie's order, rows joined end to end, and one zero after the last."""
    probs = np.zeros(len(log_probs_BV) * len(trie.ids_I) + 1)
    probs_BI = probs[:-1].reshape(len(log_probs_BV), -1)
    np.exp(np.take(log_probs_BV, trie.ids_I, axis=1), out=probs_BI, dtype=np.float64)
    total_B = probs_BI.sum(axis=1)
    worst = np.argmax(abs(total_B - 1))
    assert abs(total_B[worst] - 1) < 1e-4, (
        f"row {first_row + worst} of the log-probabilities sums to {total_B[worst]:.6f} over the "
        "ids that the tokenizer has; mask its absent ids before normalising"
    )
    return probs


def _range_sums(
    trie: Trie, probs: np.ndarray, row_A: np.ndarray, node_A: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Index of the pair, symbol, and the sum of the pair's row over the range of each edge."""
    # reduceat sums from each index up to the next; where the next is not larger it takes a single
    # element. Each pair's edges are followed by a stop and pairs go by falling start, so that what
    # lies between two pairs is never summed.
    order = np.argsort(-(row_A * len(trie.ids_I) + trie.exact_hi_M[node_A]), kind="stable")
    node = node_A[order]
    owner, edge = ragged_range(trie.first_edge_M1[node], trie.first_edge_M1[node + 1] + 1)
    is_stop = edge == trie.first_edge_M1[node + 1][owner]
    child = np.where(is_stop, 0, edge + 1)
    bound = np.where(is_stop, trie.hi_M[node[owner]], trie.lo_M[child])
    sums = np.add.reduceat(probs, row_A[order[owner]] * len(trie.ids_I) + bound)
    return order[owner[~is_stop]], trie.edge_symbol_E[edge[~is_stop]], sums[~is_stop]


def _log_dropped(
    trie: Trie, log_probs_RV: np.ndarray, histories: Histories, alive: Alive, size_N: int
) -> np.ndarray:
    """Log mass [N] of the tokens that end at a byte without leading to one of the histories."""
    vocabulary = log_probs_RV.shape[1]
    pair, index = ragged_range(trie.lo_M[alive.node_A], trie.exact_hi_M[alive.node_A])
    row, token = alive.history_A[pair], trie.ids_I[index]
    committed = histories.parent_R * vocabulary + histories.token_R
    off = ~np.isin(row * vocabulary + token, committed)
    log_mass = histories.log_weight_R[row[off]] + log_probs_RV[row[off], token[off]]
    return _log_sum_exp_by(alive.position_A[pair[off]], log_mass, size_N)


def _log_sum_exp_by(key: np.ndarray, log_value: np.ndarray, size: int) -> np.ndarray:
    """log sum exp [size] of the values that share a key; -inf where there is none."""
    top = np.full(size, -np.inf)
    np.maximum.at(top, key, log_value)
    top[np.isneginf(top)] = 0
    with np.errstate(divide="ignore"):
        return top + np.log(np.bincount(key, np.exp(log_value - top[key]), minlength=size))
