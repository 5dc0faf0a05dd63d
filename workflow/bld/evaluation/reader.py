"""A language model run over documents, window by window, for evaluations by tokens.

Shape letters: B rows, T tokens, V vocabulary, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from bld.attention import passes_of
from bld.config.settings import Rendering
from bld.models import context_of, hidden_states, load_language_model, output_logits
from bld.tokenization.rendering import Renderer, load_renderer
from bld.tokenization.vocabulary import Vocabulary
from bld.windows import windows


class Reader:
    """Runs a language model over documents.

    Only entries that the tokenizer has get probability: a model may have more logits (padding), or
    ids without a token. `vocabulary`: those entries that the model can give.
    """

    def __init__(
        self, lm: PreTrainedModel, vocabulary: Vocabulary, window: int, batch_tokens: int
    ) -> None:
        positions = context_of(lm)
        self._lm, self._batch_tokens = lm, batch_tokens
        self._window = min(window, positions or window)
        self.vocabulary = vocabulary.of_model(lm.get_output_embeddings().weight.shape[0])
        self._size = len(self.vocabulary)
        known = [
            spelt is not None or token_id in self.vocabulary.special
            for token_id, spelt in enumerate(self.vocabulary.token_bytes)
        ]
        self._absent_V = ~torch.tensor(known, device=lm.device)

    def log_probs(self, documents: Sequence[np.ndarray]) -> Iterator[tuple[int, torch.Tensor]]:
        """(index, float32 log-probabilities [T, V] of the token after each position) for each
        document's ids.

        Documents come back in an order of their own: those of like length share a forward pass. One
        that is longer than the window is read in windows that overlap by half.
        """
        order = sorted(range(len(documents)), key=lambda i: len(documents[i]), reverse=True)
        long = [i for i in order if len(documents[i]) > self._window]
        for index in long:
            yield index, torch.cat(list(self._long(documents[index])))
        short = order[len(long) :]
        lengths = [len(documents[i]) for i in short]
        for batch in passes_of(self._lm, lengths, self._batch_tokens):
            yield from self._batch([short[i] for i in batch], documents)

    def _long(self, ids_T: np.ndarray) -> Iterator[torch.Tensor]:
        for start, stop, fresh in windows(len(ids_T), self._window, self._window // 2):
            hidden = self._hidden([ids_T[start:stop]])[0]
            yield self._normalise(hidden[fresh - start :])

    def _batch(
        self, batch: list[int], documents: Sequence[np.ndarray]
    ) -> Iterator[tuple[int, torch.Tensor]]:
        hidden = self._hidden([documents[i] for i in batch])
        for row, index in enumerate(batch):
            yield index, self._normalise(hidden[row, : len(documents[index])])

    @torch.no_grad()
    def _hidden(self, rows: list[np.ndarray]) -> torch.Tensor:
        # Padding stands on the right, where causal attention never looks.
        ids_BT = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        for row, ids in enumerate(rows):
            ids_BT[row, : len(ids)] = torch.from_numpy(ids.astype(np.int64))
        return hidden_states(self._lm, ids_BT.to(self._lm.device))

    @torch.no_grad()
    def _normalise(self, hidden_TH: torch.Tensor) -> torch.Tensor:
        logits_TV = output_logits(self._lm, hidden_TH)[:, : self._size].float()
        return logits_TV.masked_fill_(self._absent_V, -torch.inf).log_softmax(-1)


def open_model(
    folder: Path,
    rendering: Rendering,
    window: int,
    batch_tokens: int,
    precision: str = "fp32",
) -> tuple[Renderer, Reader]:
    """How a model folder's documents are rendered, as `rendering` says, and what reads them."""
    renderer = load_renderer(folder, **dict(rendering))
    lm = load_language_model(folder, precision, rendering.trust_remote_code)
    return renderer, Reader(lm, renderer.vocabulary, window, batch_tokens)
