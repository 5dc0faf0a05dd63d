"""Which split a document falls into: decided by its group alone, to keep relatives together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def assign_split(group: str, shares: Mapping[str, float], seed: int) -> str | None:
    """The split of `group`, or None for the part of the groups that no split takes.

    A uniform hash of (seed, group) in [0, 1) is looked up in the intervals [0, s1), [s1, s1+s2),
    ... of the splits in the order of `shares`, so a split added at the end moves nothing. Raises
    ValueError if shares are negative or exceed 1.
    """
    if min(shares.values(), default=0) < 0 or sum(shares.values()) > 1 + 1e-9:
        raise ValueError(
            "the shares of the splits must be at least 0 and add up to at most 1, "
            f"found {dict(shares)}"
        )
    digest = hashlib.sha256(f"{seed}\0{group}".encode()).digest()
    uniform = (int.from_bytes(digest[:8], "big") >> 11) / 2**53
    end = 0.0
    for name, share in shares.items():
        end += share
        if uniform < end:
            return name
    return None
