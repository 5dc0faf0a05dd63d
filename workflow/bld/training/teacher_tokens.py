"""The teacher's tokens as tensors, beside the student's tokens of the same batch.

Shape letters: U teacher tokens of the batch, K kept tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from bld.scoring.kept_tokens import TokenRows


@dataclass
class TeacherTokens:
    """What the teacher says at the tokens of its own encoding of a batch's texts.

    Fields as in `TokenRows`, int64 and float32; `symbol_U` counts in the symbols of the batch. A
    token stands here if all its symbols lie inside the range that is supervised in the same piece.
    """

    symbol_U: torch.Tensor
    count_U: torch.Tensor
    token_U: torch.Tensor
    log_prob_U: torch.Tensor
    ids_UK: torch.Tensor
    log_probs_UK: torch.Tensor
    log_tail_U: torch.Tensor

    def to(self, device: torch.device) -> TeacherTokens:
        """The same tokens on another device."""
        return TeacherTokens(*(getattr(self, field.name).to(device) for field in fields(self)))


def rows_within(rows: TokenRows, first: int, last: int, offset: int) -> TokenRows:
    """The tokens that lie inside a document's symbols [first, last), which are numbered from
    `offset` on."""
    inside_U = (rows.symbol_U >= first) & (rows.symbol_U + rows.count_U <= last)
    kept = TokenRows(*(column[inside_U] for column in rows))
    return kept._replace(symbol_U=kept.symbol_U - first + offset)


def joined(parts: Sequence[TokenRows]) -> TeacherTokens:
    """Rows of many pieces as tensors, one after the other."""
    columns = map(np.concatenate, zip(*parts, strict=True))
    return TeacherTokens(*(_tensor(column) for column in columns))


def _tensor(column: np.ndarray) -> torch.Tensor:
    is_integer = np.issubdtype(column.dtype, np.integer)
    return torch.from_numpy(column.astype(np.int64 if is_integer else np.float32))
