"""Unbroken stretches of supervised tokens: a text, or an answer with its end, or what a row has of
them.

Methods that pair positions in order, or align sequences, do so inside one such run: rows are packed,
so a batch has many.

Shape letters: S student tokens, U teacher tokens, R runs.
"""

from __future__ import annotations

import torch

from bld.training.batches import Batch


def runs(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The number of the run that each student token [S] and each teacher token [U] belongs to,
    rising."""
    assert batch.teacher_tokens is not None, "the batch was made without the teacher's tokens"
    begins_S = ~follows(batch)
    first_R = batch.symbol_S[begins_S]
    run_U = torch.searchsorted(first_R, batch.teacher_tokens.symbol_U, right=True) - 1
    return begins_S.cumsum(0) - 1, run_U


def follows(batch: Batch) -> torch.Tensor:
    """[S]: whether a student token stands right behind the one before it, in the same piece."""
    is_next_S = torch.zeros_like(batch.source_S, dtype=torch.bool)
    is_next_S[1:] = batch.source_S[1:] == batch.source_S[:-1] + 1
    return is_next_S
