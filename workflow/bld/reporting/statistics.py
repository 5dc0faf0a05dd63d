"""How sure a number over documents is: ratios of sums, and differences of them, with intervals.

Documents, not bytes, are drawn anew, because the bytes of one document are not independent. The
interval is the expanded percentile interval of Hesterberg, "What Teachers Should Know about the
Bootstrap" (arXiv 1411.5279): the percentiles are moved outwards, since plain ones of few documents
hold the truth too seldom.

D documents, R resamples.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0


class Estimate(NamedTuple):
    """A value and its 95 % interval; the bounds are NaN where there is one document only."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low > 0 or self.high < 0


def ratio(totals_D: np.ndarray, sizes_D: np.ndarray, resamples: int = RESAMPLES) -> Estimate:
    """The sum of totals over the sum of sizes, with a percentile interval over documents.

    Give differences of totals between two models, or their mean over seeds, and the result is the
    paired difference: a resample takes the same documents for every model. Draws depend on D alone.
    """
    pairs_D2 = np.stack([totals_D, sizes_D], axis=1).astype(np.float64)
    value = _ratio(pairs_D2.sum(axis=0))
    documents = len(pairs_D2)
    if documents < 2:
        return Estimate(float(value), math.nan, math.nan)
    weights_D = np.full(documents, 1 / documents)
    counts_RD = np.random.default_rng(SEED).multinomial(documents, weights_D, size=resamples)
    tail = _tail(documents)
    low, high = np.quantile(_ratio(counts_RD @ pairs_D2), [tail, 1 - tail])
    return Estimate(float(value), float(low), float(high))


def bits_per_byte(nats_D: np.ndarray, bytes_D: np.ndarray, resamples: int = RESAMPLES) -> Estimate:
    """As `ratio`, of nats to bytes, in bits per byte."""
    return ratio(np.asarray(nats_D) / math.log(2), bytes_D, resamples)


def _tail(documents: int) -> float:
    """The fraction of resamples on either side of the interval: as much as a normal distribution
    has beyond the quantile of Student's t (by its Cornish-Fisher expansion) times sqrt(D / (D -
    1))."""
    normal, freedom = NormalDist(), documents - 1
    z = normal.inv_cdf((1 + CONFIDENCE) / 2)
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return normal.cdf(-t * math.sqrt(documents / freedom))


def _ratio(totals: np.ndarray) -> np.ndarray:
    ratios: np.ndarray = totals[..., 0] / totals[..., 1]
    return ratios
