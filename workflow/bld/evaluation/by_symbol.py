"""Figures of single symbols, and what they come to over many: all of them, or those of a kind of
document or of a place in a token.

A table has a column for every figure, [N] over the supervised symbols of one document or of many. It
costs a few floats a symbol, so that distributions need not be kept.

Shape letters: N supervised symbols, S symbols.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bld.arrays import ragged_range
from bld.symbols import END, HEAD_BYTES
from bld.tokenization.rendering import Rendered

Table = dict[str, np.ndarray]
AT_END = HEAD_BYTES + 2
"""The position of END, which is no byte of any token, after all that bytes have."""


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


def judged(model: str, log_probs_NS: np.ndarray, symbols_N: np.ndarray) -> Table:
    """What the true symbols cost a model, how sure it is of its most probable ones, and whether those
    are right."""
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
    """What a true byte costs the model on average; None without bytes or if one has no probability."""
    nats_B = table[f"{model}_nats"][table["position"] != AT_END]
    return finite(nats_B.mean() / math.log(2)) if len(nats_B) else None


def end_nats(table: Table, model: str) -> float | None:
    """What END costs the model on average; None without any or if one has no probability."""
    nats_E = table[f"{model}_nats"][table["position"] == AT_END]
    return finite(nats_E.mean()) if len(nats_E) else None


def position_name(position: int) -> int | str:
    """As it stands in results: the number, or "end"."""
    return "end" if position == AT_END else position


def finite(value: float) -> float | None:
    """The number as JSON can hold it."""
    return float(value) if math.isfinite(value) else None
