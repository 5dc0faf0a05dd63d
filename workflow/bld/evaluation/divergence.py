"""How far a student's byte distributions are from its teacher's, and the distances between rows of them.

Both are read as ordinary token models and summed to bytes under the same policy, so the figures
compare two models and not two ways of summing.

Shape letters: N supervised symbols, S symbols.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bld.documents.document import Document
from bld.teacher.scoring import ByteScorer


def byte_divergence(
    documents: Sequence[Document], teacher: ByteScorer, student: ByteScorer
) -> dict[str, Any]:
    """Mean Jensen-Shannon divergence and KL(teacher || student) in nats over all supervised
    symbols.

    `kl` is None if it is infinite. It is finite where both sum all prefix histories; where some are
    dropped, symbols that only those would have given are left without probability (END inside a
    word, for example).
    """
    jsd, kl = [], []
    scored = (model.distributions(documents) for model in (teacher, student))
    for of_teacher, of_student in zip(*scored, strict=True):
        jsd.append(jensen_shannon(of_teacher.log_probs_NS, of_student.log_probs_NS))
        kl.append(kullback_leibler(of_teacher.log_probs_NS, of_student.log_probs_NS))
    jsd_N = np.concatenate(jsd)
    mean_kl = float(np.concatenate(kl).mean())
    return {
        "task": "byte_divergence",
        "jsd": float(jsd_N.mean()),
        "kl": mean_kl if math.isfinite(mean_kl) else None,
        "bytes": len(jsd_N),
        "documents": len(documents),
    }


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
