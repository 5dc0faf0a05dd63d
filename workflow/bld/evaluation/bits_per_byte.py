"""Bits per byte: what a model pays for the text, per byte of the text itself, whatever its
tokenizer.

Only supervised content is counted: of a conversation the answers, given the questions. The end of a
turn is no byte and is reported apart.

A model is charged here for the one way in which its tokenizer spells a text. BatchHistories over covers
(`byte_divergence`) it is charged for the text, however it might have been spelt, and of every turn
that fits into one window that is never more, with or without the end: the tokenizer's own spelling
is one of the covers, and histories that a policy leaves out are left out of what is divided by as
well, which only raises the share of what stays. So it holds for every policy that keeps the trunk;
a beam may lose it. Where every token is one byte, the two are the same.

Shape letters: B rows, T tokens, V vocabulary, H hidden.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from bld.config.settings import Rendering
from bld.documents.document import Document
from bld.models import context_of, hidden_states, load_language_model, output_logits
from bld.tokenization.rendering import Rendered, Renderer, load_renderer
from bld.tokenization.vocabulary import Vocabulary
from bld.windows import batches_of_like_length, windows


class Reader:
    """Runs a language model over documents.

    Only entries that the tokenizer has get probability: a model may have more logits (padding), or
    ids without a token.
    """

    def __init__(
        self, lm: PreTrainedModel, vocabulary: Vocabulary, window: int, batch_tokens: int
    ) -> None:
        positions = context_of(lm)
        self._lm, self._batch_tokens = lm, batch_tokens
        self._window = min(window, positions or window)
        self._size = len(vocabulary)
        logits = lm.get_output_embeddings().weight.shape[0]
        if logits < self._size:
            raise ValueError(
                f"the tokenizer has {self._size} entries but the model has only {logits} logits; "
                "tokenizer and model do not belong together"
            )
        known = [
            spelt is not None or token_id in vocabulary.special
            for token_id, spelt in enumerate(vocabulary.token_bytes)
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
        for batch in batches_of_like_length(lengths, self._batch_tokens):
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


def bits_per_byte(
    documents: Sequence[Document], renderer: Renderer, reader: Reader
) -> dict[str, Any]:
    """Bits per byte over all documents, by kind, and nats and bytes of each document.

    `end_nats` is the mean cost of ending a turn, None if the rendering ends no turn.
    """
    rendered = [renderer.render(d.segments, f"document {d.id}") for d in documents]
    rows: list[dict[str, Any]] = [{}] * len(documents)
    ends: list[float] = []
    for index, log_probs_TV in reader.log_probs([r.ids_T for r in rendered]):
        nats, end_nats = _nats(rendered[index], log_probs_TV)
        document = documents[index]
        ends += end_nats
        rows[index] = {
            "id": document.id,
            "kind": document.kind,
            "nats": nats,
            "bytes": len(document.supervised),
        }
    kinds = sorted({row["kind"] for row in rows})
    return {
        "task": "bits_per_byte",
        **_total(rows),
        "end_nats": sum(ends) / len(ends) if ends else None,
        "by_kind": {kind: _total([r for r in rows if r["kind"] == kind]) for kind in kinds},
        "per_document": rows,
    }


def _nats(rendered: Rendered, log_probs_TV: torch.Tensor) -> tuple[float, list[float]]:
    """What the supervised content costs, and what each supervised end costs."""
    ids_T = torch.from_numpy(rendered.ids_T.astype("int64")).to(log_probs_TV.device)
    cost_T = -log_probs_TV[:-1].gather(1, ids_T[1:, None])[:, 0].double().cpu()
    content = sum(float(cost_T[t.first - 1 : t.last - 1].sum()) for t in rendered.turns)
    return content, [float(cost_T[t.last - 1]) for t in rendered.turns if t.ends]


def _total(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    nats, size = sum(row["nats"] for row in rows), sum(row["bytes"] for row in rows)
    if not size:
        raise ValueError("the documents hold no supervised byte, so there is nothing to measure")
    return {"bits_per_byte": nats / size / math.log(2), "bytes": size, "documents": len(rows)}
