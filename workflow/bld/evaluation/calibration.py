"""Calibration: of the symbols that a model is so sure of, are so many right?

Of every supervised symbol the model's most probable one is taken: its probability is the confidence,
and it is right if it is the true one. Symbols are sorted into ten bins of confidence; in a calibrated
model the mean confidence of a bin is the share of it that is right. The expected calibration error is
the mean gap between the two, weighted by symbols (Guo et al., "On Calibration of Modern Neural
Networks", arXiv 1706.04599, Eq. 3).
"""

from __future__ import annotations

from typing import Any

import numpy as np

BINS = 10


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
