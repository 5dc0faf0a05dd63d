"""Two sequences of tokens aligned by what they spell: dynamic time warping over edit distances.

Shape letters: S tokens of the student, U tokens of the teacher.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein


def edit_distances(rows: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    """The edit distance of every two words, int32 [rows, columns]."""
    words, row = np.unique(np.array(rows, object), return_inverse=True)
    others, column = np.unique(np.array(columns, object), return_inverse=True)
    distances = process.cdist(words, others, scorer=Levenshtein.distance, dtype=np.int32)
    return distances[row[:, None], column]


def warped(cost_US: np.ndarray) -> list[tuple[int, int]]:
    """The pairs (u, s) of the cheapest path from both beginnings to both ends, backwards, each step
    of which goes on by one in either sequence or in both.

    Of equally cheap ways back one in both is taken, else one in U.
    """
    total_US = _totals(cost_US)
    u, s = total_US.shape[0] - 1, total_US.shape[1] - 1
    path = [(u, s)]
    while u or s:
        if not u or not s:
            u, s = max(u - 1, 0), max(s - 1, 0)
        else:
            both, one_u, one_s = total_US[u - 1, s - 1], total_US[u - 1, s], total_US[u, s - 1]
            if both <= min(one_u, one_s):
                u, s = u - 1, s - 1
            elif one_u <= one_s:
                u -= 1
            else:
                s -= 1
        path.append((u, s))
    return path


def only_partners(cost_US: np.ndarray) -> np.ndarray:
    """The index in U that each of S is aligned to, where it is just one, [S]; else -1."""
    partner_S = np.full(cost_US.shape[1], -1)
    times_S = np.zeros(cost_US.shape[1], int)
    for u, s in warped(cost_US):
        partner_S[s] = u
        times_S[s] += 1
    return np.where(times_S == 1, partner_S, -1)


def _totals(cost_US: np.ndarray) -> np.ndarray:
    """What the cheapest way to each pair costs, its own cost included."""
    total_US = np.empty_like(cost_US)
    total_US[0] = cost_US[0].cumsum()
    for cost_S, above_S, total_S in zip(cost_US[1:], total_US[:-1], total_US[1:], strict=True):
        total_S[0] = above_S[0]
        np.minimum(above_S[1:], above_S[:-1], out=total_S[1:])
        # Entered here and then along the row: what that costs is a difference of sums.
        summed_S = cost_S.cumsum(dtype=cost_S.dtype)
        total_S += cost_S - summed_S
        np.minimum.accumulate(total_S, out=total_S)
        total_S += summed_S
    return total_US
