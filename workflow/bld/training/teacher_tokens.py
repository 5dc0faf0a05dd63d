"""The teacher's tokens as tensors, beside the student's tokens of the same batch.

Fields as in `TokenScores`, int64 and float32; `symbol_U` counts in the symbols of the batch. A token
stands there if all its symbols lie inside the range that is supervised in the same piece.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from bld.scoring import tokens
from bld.scoring.tokens import TokenScores

TeacherTokens = TokenScores[torch.Tensor]


def rows_within(
    scores: TokenScores[np.ndarray], first: int, last: int, offset: int
) -> TokenScores[np.ndarray]:
    """The tokens that lie inside a document's symbols [first, last), which are numbered from
    `offset` on."""
    kept = scores.of((scores.symbol_U >= first) & (scores.symbol_U + scores.count_U <= last))
    return kept._replace(symbol_U=kept.symbol_U - first + offset)


def joined(parts: Sequence[TokenScores[np.ndarray]]) -> TeacherTokens:
    """The scores of many pieces as tensors, one after the other."""
    return tokens.joined(parts).map(_tensor)


def _tensor(column: np.ndarray) -> torch.Tensor:
    is_integer = np.issubdtype(column.dtype, np.integer)
    return torch.from_numpy(column.astype(np.int64 if is_integer else np.float32))
