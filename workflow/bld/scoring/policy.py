"""Which histories are summed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Policy:
    """A choice of histories (see `covers.search` for what each one evaluates).

    `name`: `trunk` sums the canonical encoding of the whole text alone, a biased control; `prefix`
    adds encode(x[:i]) for every i; `beam` searches all covers. `eps`: histories with at most this
    share of the probability of the text before them are dropped; 0 keeps all. `width`: how many
    histories a beam keeps alive at a byte.
    """

    name: Literal["trunk", "prefix", "beam"] = "prefix"
    eps: float = 1e-3
    width: int = 10
