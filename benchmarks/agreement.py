"""How far byte distributions are from the reference's, and what they give the text itself.

Compared are 257 outcomes: the bytes, and that the text ends here by whatever special token.

Shapes: N supervised symbols, S symbols, O outcomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bld.documents.document import Document
from bld.evaluation.measures import jensen_shannon
from bld.symbols import END, supervised_symbols

LOST = 1e-9


def agreement(
    found: Sequence[np.ndarray], reference: Sequence[np.ndarray], documents: Sequence[Document]
) -> dict[str, Any]:
    """JSD in nats over all supervised symbols; bits per byte and lost bytes over the bytes alone.

    A byte of the text whose probability is below 1e-9 is lost, and counts as if it had that.
    """
    found_NO, reference_NO = (
        np.concatenate([_outcomes(one_NS) for one_NS in some]) for some in (found, reference)
    )
    symbols_N = np.concatenate([supervised_symbols(d.segments) for d in documents])
    assert len(symbols_N) == len(found_NO) == len(reference_NO)
    jsd_N = jensen_shannon(found_NO, reference_NO)
    byte_N = np.flatnonzero(symbols_N < END)
    probability_N = np.exp(found_NO[byte_N, symbols_N[byte_N]])
    return {
        "compared_bytes": len(byte_N),
        "jsd_mean": float(jsd_N.mean()),
        "jsd_p99": float(np.quantile(jsd_N, 0.99)),
        "bits_per_byte": float(-np.log2(np.maximum(probability_N, LOST)).mean()),
        "true_byte_lost": int((probability_N < LOST).sum()),
    }


def _outcomes(log_probs_NS: np.ndarray) -> np.ndarray:
    """Rows of symbols with END and SPECIAL, if it is there, made one."""
    log_probs_NS = log_probs_NS.astype(np.float64)
    ends_N = np.logaddexp.reduce(log_probs_NS[:, END:], axis=1)
    return np.column_stack([log_probs_NS[:, :END], ends_N])
