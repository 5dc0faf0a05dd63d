"""What is compared, as far as it needs nothing but this project: a plain forward, and the policies.

The plain forward is what one would write with transformers to get the teacher's token
log-probabilities of the same text, and nothing is spared for it: batches of like length, no logits
where nothing is supervised, blocks that stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from subjects import Subject

from bld.arrays import LOGITS_AT_ONCE
from bld.config.settings import Histories
from bld.documents.document import Document
from bld.scoring.scorer import ByteScorer
from bld.windows import batches_of_like_length

BLOCK_ROWS = 128


class Method(Protocol):
    """A way to read documents. `label`: its `policy`, `eps` and `width` in the table. `positions`:
    how many the model has run for it so far, padding left out."""

    label: dict[str, Any]
    positions: int

    def score(self, documents: Sequence[Document]) -> Iterator[Any]:
        """Do the work; what comes out are log-probabilities [N, S] of each document, in order,
        where the method is one that sums bytes."""
        ...


class PlainForward:
    """Log-probabilities of the token after every supervised position."""

    def __init__(self, subject: Subject, batch_tokens: int) -> None:
        self.label = {"policy": "plain", "eps": None, "width": None}
        self.positions = 0
        self._lm, self._renderer = subject.lm, subject.renderer
        self._batch_tokens = batch_tokens
        elements = LOGITS_AT_ONCE[self._lm.device.type]
        self._block_rows = max(BLOCK_ROWS, elements // len(subject.tokenizer))

    @torch.inference_mode()
    def score(self, documents: Sequence[Document]) -> Iterator[torch.Tensor]:
        """The log-probabilities, block by block."""
        rendered = [self._renderer.render(d.segments, d.id) for d in documents]
        head = self._lm.get_output_embeddings()
        for batch in batches_of_like_length([len(r) for r in rendered], self._batch_tokens):
            rows = [rendered[i] for i in batch]
            ids_BT = np.zeros((len(rows), len(rows[0])), np.int64)
            is_read_BT = np.zeros(ids_BT.shape, bool)
            for row, one in enumerate(rows):
                ids_BT[row, : len(one)] = one.ids_T
                for turn in one.turns:
                    is_read_BT[row, turn.first - 1 : turn.last] = True
                self.positions += len(one)
            ids_BT, is_read_BT = (
                torch.from_numpy(array).to(self._lm.device) for array in (ids_BT, is_read_BT)
            )
            hidden_BTH = self._lm.base_model(input_ids=ids_BT, use_cache=False).last_hidden_state
            for block_BH in hidden_BTH[is_read_BT].split(self._block_rows):
                yield head(block_BH).float().log_softmax(-1)


class Bytes:
    """Byte distributions by one of this project's policies."""

    def __init__(self, subject: Subject, policy: Histories, window: int, batch_tokens: int) -> None:
        width = policy.beam_width if policy.histories == "beam" else None
        eps = None if policy.histories == "trunk" else policy.eps
        self.label = {"policy": policy.histories, "eps": eps, "width": width}
        self._scorer = ByteScorer(subject.renderer, subject.lm, policy, window, batch_tokens)

    @property
    def positions(self) -> int:
        return sum(self._scorer.evaluated)

    def score(self, documents: Sequence[Document]) -> Iterator[np.ndarray]:
        """The byte distributions of each document."""
        for scored in self._scorer.distributions(documents):
            yield scored.log_probs_NS
