"""How far a student's byte distributions are from its teacher's.

Both are read as ordinary token models and summed to bytes over the same kind of history, so the
figures compare two models and not two ways of summing.

Shape letters: N supervised symbols, S symbols.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bld.documents.document import Document
from bld.models import Reader
from bld.teacher.scoring import byte_distributions
from bld.tokenization.rendering import Renderer


def byte_divergence(
    documents: Sequence[Document],
    teacher: tuple[Renderer, Reader],
    student: tuple[Renderer, Reader],
) -> dict[str, Any]:
    """Mean Jensen-Shannon divergence and KL(teacher || student) in nats over all supervised
    symbols.

    `kl` is None if it is infinite: inside a student's token its trunk histories leave some symbols
    no probability at all, and a teacher with other tokens leaves others.
    """
    jsd, kl = [], []
    scored = (byte_distributions(documents, *model) for model in (teacher, student))
    for (_, teacher_NS, _), (_, student_NS, _) in zip(*scored, strict=True):
        jsd.append(jensen_shannon(teacher_NS, student_NS))
        kl.append(kullback_leibler(teacher_NS, student_NS))
    jsd_N = np.concatenate(jsd)
    mean_kl = float(np.concatenate(kl).mean())
    return {
        "task": "byte_divergence",
        "jsd": float(jsd_N.mean()),
        "kl": mean_kl if math.isfinite(mean_kl) else None,
        "bytes": len(jsd_N),
        "documents": len(documents),
        "histories": "trunk",
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
