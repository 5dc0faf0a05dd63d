"""How far apart two byte distributions are, row by row, and how much one of them leaves open.

Shape letters: N supervised symbols, S symbols.
"""

from __future__ import annotations

import numpy as np


def jensen_shannon(p_NS: np.ndarray, q_NS: np.ndarray) -> np.ndarray:
    """JSD in nats, [N], of rows of log-probabilities."""
    mean_NS = np.logaddexp(p_NS, q_NS, dtype=np.float64) - np.log(2)
    return (kullback_leibler(p_NS, mean_NS) + kullback_leibler(q_NS, mean_NS)) / 2


def kullback_leibler(p_NS: np.ndarray, q_NS: np.ndarray) -> np.ndarray:
    """KL(p || q) in nats, [N], of rows of log-probabilities."""
    p_NS, q_NS = p_NS.astype(np.float64), q_NS.astype(np.float64)
    possible = p_NS > -np.inf
    gap_NS = np.subtract(p_NS, q_NS, out=np.zeros_like(p_NS), where=possible)
    return (np.exp(p_NS) * gap_NS).sum(1)


def total_variation(p_NS: np.ndarray, q_NS: np.ndarray) -> np.ndarray:
    """Half the L1 distance, between 0 and 1, [N], of rows of log-probabilities."""
    return abs(np.exp(p_NS, dtype=np.float64) - np.exp(q_NS, dtype=np.float64)).sum(1) / 2


def entropy(p_NS: np.ndarray) -> np.ndarray:
    """Entropy in nats, [N], of rows of log-probabilities."""
    p_NS = p_NS.astype(np.float64)
    return -(np.exp(p_NS) * np.where(p_NS > -np.inf, p_NS, 0)).sum(1)
