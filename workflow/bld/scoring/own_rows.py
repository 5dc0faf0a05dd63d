"""Histories in rows of their own, each read from the beginning of its text: exact and slow, for
models that do not read trees.

Shapes: W histories of a wave, T tokens of a path, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from bld.attention import passes_of, read_apart
from bld.scoring.history_batch import HistoryBatch


class OwnRows:
    """The sequences of a batch and the histories beside them, with the same results as those of
    `packed.TreeRows`. A pass has at most `batch_tokens` positions; `evaluated` counts those of the
    sequences, then of other histories."""

    def __init__(
        self,
        lm: PreTrainedModel,
        sequences: Sequence[np.ndarray],
        batch_tokens: int,
        row_histories: int = 0,
    ) -> None:
        self._lm, self._sequences, self._batch_tokens = lm, sequences, batch_tokens
        self.evaluated = [0, 0]

    def trunk(self, histories: HistoryBatch, wave: np.ndarray) -> torch.Tensor:
        """The hidden states [W, H] of the sequences at the nodes of the trunk."""
        sequence_W, column_W = histories.sequence_R[wave], histories.column_R[wave]
        wanted = [np.flatnonzero(sequence_W == i) for i in range(len(self._sequences))]
        self.evaluated[0] += sum(map(len, self._sequences))
        return self._read(self._sequences, [(w, column_W[w]) for w in wanted], len(wave))

    def wave(self, histories: HistoryBatch, wave: np.ndarray) -> torch.Tensor:
        """The hidden states [W, H] after the histories of a wave: one row for each that no other of
        the wave follows, which has those of all that lead to it."""
        place = {node: index for index, node in enumerate(wave.tolist())}
        follows = set(histories.parent_R[wave].tolist())
        paths, wanted = [], []
        for leaf in (node for node in wave.tolist() if node not in follows):
            path, node = path_of(histories, self._sequences, leaf), leaf
            places, columns = [], []
            while node in place:
                places.append(place.pop(node))
                columns.append(histories.depth_R[node])
                node = int(histories.parent_R[node])
            paths.append(path)
            wanted.append((np.array(places), np.array(columns)))
        self.evaluated[1] += sum(map(len, paths))
        return self._read(paths, wanted, len(wave))

    @torch.no_grad()
    def _read(
        self,
        paths: Sequence[np.ndarray],
        wanted: Sequence[tuple[np.ndarray, np.ndarray]],
        size: int,
    ) -> torch.Tensor:
        """Of each path: which rows of the result are its hidden states at which columns."""
        ids = [torch.from_numpy(path.astype(np.int64)).to(self._lm.device) for path in paths]
        passes = passes_of(self._lm, list(map(len, paths)), self._batch_tokens)
        hidden_WH = None
        for index, hidden_TH in read_apart(self._lm, ids, passes):
            if hidden_WH is None:
                hidden_WH = hidden_TH.new_empty(size, hidden_TH.shape[1])
            places, columns = (torch.from_numpy(x).to(hidden_TH.device) for x in wanted[index])
            hidden_WH[places] = hidden_TH[columns]
        assert hidden_WH is not None
        return hidden_WH


def path_of(histories: HistoryBatch, sequences: Sequence[np.ndarray], node: int) -> np.ndarray:
    """The token ids [T] of a history, from the beginning of its sequence."""
    beside = []
    while node >= histories.trunk:
        beside.append(int(histories.token_R[node]))
        node = int(histories.parent_R[node])
    trunk = sequences[histories.sequence_R[node]][: histories.column_R[node] + 1]
    return np.concatenate([trunk, beside[::-1]]).astype(np.int64)
