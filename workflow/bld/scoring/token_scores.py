"""A model's scores at the tokens of its own tokenization, as arrays or tensors; apart from how they
are computed, so that what reads them is not rerun for that.

Shapes: U supervised tokens, K tokens kept of a distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch

Array = TypeVar("Array", bound=np.ndarray | torch.Tensor)
Other = TypeVar("Other", bound=np.ndarray | torch.Tensor)


class TokenScores(NamedTuple, Generic[Array]):
    """Of the supervised tokens of a model's own tokenization, in their order (content tokens and
    the end tokens of turns): where they stand and what the model says of them; as arrays or
    tensors.

    Token u is `token_U` (int32) and spells `count_U` (int32) symbols from supervised symbol
    `symbol_U` (int32) on. `log_prob_U`: float32, its log-probability given all before it. `ids_UK`:
    int32, the most probable tokens, falling (-1 where unused); `log_probs_UK`: float32 (-inf where
    unused); `log_tail_U`: float32, all the others together (-inf where nothing is left).
    Probabilities are among the entries that the tokenizer has.
    """

    symbol_U: Array
    count_U: Array
    token_U: Array
    log_prob_U: Array
    ids_UK: Array
    log_probs_UK: Array
    log_tail_U: Array

    def map(self, function: Callable[[Array], Other]) -> TokenScores[Other]:
        """The scores with a function applied to every column."""
        return TokenScores(*(function(column) for column in self))

    def of(self, which: slice | np.ndarray) -> TokenScores[Array]:
        """The scores of some tokens, by a range or a mask."""
        return self.map(itemgetter(which))


def joined(parts: Sequence[TokenScores[np.ndarray]]) -> TokenScores[np.ndarray]:
    """The scores of several parts, one after the other."""
    return TokenScores(*map(np.concatenate, zip(*parts, strict=True)))


def no_scores(kept: int) -> TokenScores[np.ndarray]:
    """The scores of no token, with K = `kept`."""
    whole, real = np.zeros((2, 0), np.int32), np.zeros((2, 0), np.float32)
    ids_UK, log_probs_UK = np.zeros((0, kept), np.int32), np.zeros((0, kept), np.float32)
    return TokenScores(whole[0], whole[0], whole[0], real[0], ids_UK, log_probs_UK, real[0])
