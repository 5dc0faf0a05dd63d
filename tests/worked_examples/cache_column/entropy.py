"""One more column of the byte cache: the teacher's entropy at every byte, in nats.

Both definitions go into `workflow/bld/cache/schema.py`: the function above `StoredBytes`, the field
below the other fields of it. Nothing else is edited: shards are written with the column, gathering
checks it, `ByteCache.read` gives it, the plan counts its bits, and older caches are refused.
"""

from typing import Annotated, NamedTuple

import numpy as np

from bld.cache.schema import Column


def entropy(log_probs_NS: np.ndarray) -> np.ndarray:
    """The entropy [N] of rows of normalised log-probabilities."""
    return -(np.exp(log_probs_NS) * np.where(log_probs_NS > -np.inf, log_probs_NS, 0)).sum(1)


class StoredBytes(NamedTuple):
    entropy_N: Annotated[np.ndarray, Column("entropy", "float16", bits=15, compute=entropy)]
