"""What a trained byte head says of the bytes of a document, which is what training has taught it.

At inference a student is its old self and its head is thrown away; what the head has learnt is measured
apart. It reads the student's own tokens and sees the first ten bytes of each.

Shape letters: T tokens, M predicted symbols, S symbols, N supervised symbols of a document; the fields
of `_Tokens` are those of `training.batches.Batch`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel

from bld.models import context_of, hidden_states
from bld.tokenization.rendering import Rendered
from bld.training.heads import ByteHead, load_head
from bld.windows import windows


class _Tokens(NamedTuple):
    """The supervised tokens of one document, as heads read them."""

    source_S: torch.Tensor
    target_S: torch.Tensor
    symbol_S: torch.Tensor
    count_S: torch.Tensor
    symbols_N: torch.Tensor
    summed: Any = None


class HeadReader:
    """Runs a byte head on top of its student.

    Documents longer than `window` tokens, or than the model's context, are read in windows that
    overlap by half.
    """

    def __init__(self, head: ByteHead, lm: PreTrainedModel, window: int) -> None:
        self._head, self._lm = head.to(lm.device).eval(), lm
        self._window = min(window, context_of(lm) or window)

    @torch.no_grad()
    def read(self, document: Rendered) -> tuple[np.ndarray, np.ndarray]:
        """The symbols that the head predicts, [M], and its log-probabilities there, [M, 260]."""
        predictions = self._head(self._lm, self._hidden(document.ids_T), self._tokens(document))
        return predictions.symbol_M.cpu().numpy(), predictions.log_probs_MS.cpu().numpy()

    def _hidden(self, ids_T: np.ndarray) -> torch.Tensor:
        ids_1T = self._tensor(ids_T)[None]
        return torch.cat(
            [
                hidden_states(self._lm, ids_1T[:, start:stop])[0, fresh - start :]
                for start, stop, fresh in windows(len(ids_T), self._window, self._window // 2)
            ]
        )

    def _tokens(self, document: Rendered) -> _Tokens:
        token_S = np.flatnonzero(document.symbol_T >= 0)
        return _Tokens(
            source_S=self._tensor(token_S - 1),
            target_S=self._tensor(document.ids_T[token_S]),
            symbol_S=self._tensor(document.symbol_T[token_S]),
            count_S=self._tensor(document.count_T[token_S]),
            symbols_N=self._tensor(document.symbols_N),
        )

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.int64)).to(self._lm.device)


def open_head(kind: str, folder: Path, lm: PreTrainedModel, window: int) -> HeadReader:
    """What reads the trained head in `folder` on top of its student."""
    return HeadReader(load_head(kind, lm.config.get_text_config().hidden_size, folder), lm, window)
