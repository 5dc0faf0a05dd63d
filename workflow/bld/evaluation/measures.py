"""Figures of byte distributions: distances and entropies row by row, figures of single symbols, and
what they come to over many: all of them, or those of a kind of document or of a place in a token.

A table has a column for every figure, [N] over the supervised symbols of one document or of many.
It costs a few floats a symbol, so that distributions need not be kept.

Calibration asks: of the symbols that a model is so sure of, are so many right? Of every supervised
symbol the model's most probable one is taken: its probability is the confidence, and it is right if
it is the true one. Symbols are sorted into ten bins of confidence; in a calibrated model the mean
confidence of a bin is the fraction of it that is right. The expected calibration error is the mean
gap between the two, weighted by symbols (Guo et al., "On Calibration of Modern Neural Networks",
arXiv 1706.04599, Eq. 3).

Shape letters: N supervised symbols, S symbols.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bld.arrays import ragged_range
from bld.files import finite
from bld.symbols import END, HEAD_BYTES
from bld.tokenization.rendered import Rendered

Table = dict[str, np.ndarray]
AT_END = HEAD_BYTES + 2
"""The position of END, which is no byte of any token, after all that bytes have."""
BINS = 10


def jensen_shannon(p_NS: np.ndarray, q_NS: np.ndarray) -> np.ndarray:
    """JSD in nats, [N], of rows of log-probabilities."""
    mean_NS = np.logaddexp(p_NS, q_NS, dtype=np.float64) - np.log(2)
    both_N = kullback_leibler(p_NS, mean_NS) + kullback_leibler(q_NS, mean_NS)
    return np.asarray(both_N / 2)


def kullback_leibler(p_NS: np.ndarray, q_NS: np.ndarray) -> np.ndarray:
    """KL(p || q) in nats, [N], of rows of log-probabilities."""
    p_NS, q_NS = p_NS.astype(np.float64), q_NS.astype(np.float64)
    possible = p_NS > -np.inf
    gap_NS = np.subtract(p_NS, q_NS, out=np.zeros_like(p_NS), where=possible)
    return np.asarray((np.exp(p_NS) * gap_NS).sum(1))


def total_variation(p_NS: np.ndarray, q_NS: np.ndarray) -> np.ndarray:
    """Half the L1 distance, between 0 and 1, [N], of rows of log-probabilities."""
    gap_NS = np.exp(p_NS, dtype=np.float64) - np.exp(q_NS, dtype=np.float64)
    return np.asarray(abs(gap_NS).sum(1) / 2)


def entropy(p_NS: np.ndarray) -> np.ndarray:
    """Entropy in nats, [N], of rows of log-probabilities."""
    p_NS = p_NS.astype(np.float64)
    return np.asarray(-(np.exp(p_NS) * np.where(p_NS > -np.inf, p_NS, 0)).sum(1))


def reliability(confidence_N: np.ndarray, right_N: np.ndarray) -> dict[str, Any]:
    """`calibration`: the bins that hold a symbol, with their bounds [low, high), symbols, mean
    confidence and accuracy; `calibration_error`: the expected calibration error, in 0 to 1."""
    bin_N = np.minimum((confidence_N * BINS).astype(np.int64), BINS - 1)
    symbols_B = np.bincount(bin_N, minlength=BINS)
    held = np.flatnonzero(symbols_B)
    confidence_B, accuracy_B = (
        np.bincount(bin_N, of_symbols, minlength=BINS)[held] / symbols_B[held]
        for of_symbols in (confidence_N, right_N)
    )
    return {
        "calibration": [
            {
                "low": number / BINS,
                "high": (number + 1) / BINS,
                "symbols": int(symbols_B[number]),
                "confidence": float(confidence),
                "accuracy": float(accuracy),
            }
            for number, confidence, accuracy in zip(
                held.tolist(), confidence_B, accuracy_B, strict=True
            )
        ],
        "calibration_error": float(
            abs(confidence_B - accuracy_B) @ symbols_B[held] / len(confidence_N)
        ),
    }


def positions(document: Rendered) -> np.ndarray:
    """The place of every supervised byte in its token, [N]: 1 to 10 as there are byte heads, 11 for
    all later ones; `AT_END` for END."""
    token_T = np.flatnonzero(document.symbol_T >= 0)
    first_T = document.symbol_T[token_T]
    token, symbol = ragged_range(first_T, first_T + document.count_T[token_T])
    position_N = np.full(len(document.symbols_N), AT_END, np.int8)
    position_N[symbol] = np.minimum(symbol - first_T[token] + 1, HEAD_BYTES + 1)
    position_N[document.symbols_N == END] = AT_END
    return position_N


def figures(model: str, log_probs_NS: np.ndarray, symbols_N: np.ndarray) -> Table:
    """What the true symbols cost a model, how sure it is of its most probable ones, and whether
    those are right."""
    rows, best_N = np.arange(len(symbols_N)), log_probs_NS.argmax(1)
    return {
        f"{model}_nats": 0 - log_probs_NS[rows, symbols_N].astype(np.float64),
        f"{model}_confidence": np.exp(log_probs_NS[rows, best_N], dtype=np.float64),
        f"{model}_right": best_N == symbols_N,
    }


def joined(tables: Sequence[Table]) -> Table:
    """Tables with the same columns, one below the other."""
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def rows_of(table: Table, which: np.ndarray) -> Table:
    """Some rows of a table, by a mask or by their numbers."""
    return {name: column[which] for name, column in table.items()}


def groups(table: Table, key_N: np.ndarray) -> Iterator[tuple[Any, Table]]:
    """The rows of every key, in the order of the keys."""
    for key in np.unique(key_N):
        yield key.item(), rows_of(table, key_N == key)


def counts_and_divergences(table: Table) -> dict[str, Any]:
    """How many symbols and bytes, and the mean divergences in nats; an infinite one is None."""
    return {
        "symbols": len(table["position"]),
        "bytes": int((table["position"] != AT_END).sum()),
        "jsd": finite(table["jsd"].mean()),
        "kl": finite(table["kl"].mean()),
    }


def bits_per_byte(table: Table, model: str) -> float | None:
    """What a true byte costs the model on average; None without bytes or if one has no
    probability."""
    nats_B = table[f"{model}_nats"][table["position"] != AT_END]
    return finite(nats_B.mean() / math.log(2)) if len(nats_B) else None


def end_nats(table: Table, model: str) -> float | None:
    """What END costs the model on average; None without any or if one has no probability."""
    nats_E = table[f"{model}_nats"][table["position"] == AT_END]
    return finite(nats_E.mean()) if len(nats_E) else None


def position_name(position: int) -> int | str:
    """As it stands in results: the number, or "end"."""
    return "end" if position == AT_END else position
