"""Language models as this project uses them: loaded from a local folder, and run in two halves.

The byte heads read the hidden state that predicts a token, and most positions need no logits at
all, so a model is run as body (ids to hidden states) and output head (hidden states to logits).
Both halves together are checked against the whole model once, so a model kind that does something
in between is refused instead of being trained on other numbers.

Shape letters: B rows, T tokens, V vocabulary, H hidden.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from bld.tokenization.rendering import Renderer, load_renderer
from bld.tokenization.vocabulary import Vocabulary

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load_language_model(
    folder: Path, precision: str = "fp32", trust_remote_code: bool = False
) -> PreTrainedModel:
    """A causal language model from a local folder of safetensors, in evaluation mode.

    Raises ValueError if the model kind cannot be run in two halves.
    """
    lm: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=DTYPES[precision],
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=trust_remote_code,
    )
    lm.eval()
    check_halves(lm)
    nn.Module.to(lm, device())
    return lm


def device() -> torch.device:
    """The GPU of this process, which torchrun numbers by LOCAL_RANK, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


@contextmanager
def memory_explained(cure: str) -> Iterator[None]:
    """Say what to do where a GPU's memory is full; more memory of the host, which a scheduler gives at
    the next attempt, is of no use there.

    Raises MemoryError in place of torch's error.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        found = str(error).split(". ")[0]
        raise MemoryError(
            f"the GPU's memory is full ({found}), and another attempt will not change that: {cure}"
        ) from error


def hidden_states(
    lm: PreTrainedModel,
    ids_BT: torch.Tensor,
    mask_B1TT: torch.Tensor | None = None,
    positions_BT: torch.Tensor | None = None,
) -> torch.Tensor:
    """The hidden states that the output head reads, [B, T, H].

    `mask_B1TT` is added to the attention scores (0 or a large negative number); without it
    attention is causal.
    """
    body = lm.base_model
    return body(
        input_ids=ids_BT, attention_mask=mask_B1TT, position_ids=positions_BT, use_cache=False
    ).last_hidden_state


def output_logits(lm: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """Logits [..., V] from hidden states [..., H], capped in models that do so (Gemma 2)."""
    return soft_capped(lm, lm.get_output_embeddings()(hidden))


def soft_capped(lm: PreTrainedModel, logits: torch.Tensor) -> torch.Tensor:
    """Logits as the model gives them out, from what its output head computes."""
    cap = getattr(lm.config.get_text_config(), "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


@torch.no_grad()
def check_halves(lm: PreTrainedModel) -> None:
    """Raise ValueError unless body and output head give the logits of the whole model."""
    ids_BT = torch.arange(8, device=lm.device)[None] % lm.config.get_text_config().vocab_size
    whole = lm(input_ids=ids_BT, use_cache=False).logits.float()
    halves = output_logits(lm, hidden_states(lm, ids_BT)).float()
    if not torch.allclose(whole, halves, rtol=1e-2, atol=1e-2 * float(whole.abs().max())):
        raise ValueError(
            f"{type(lm).__name__} changes its hidden states or logits outside its body and output head (largest "
            f"difference {float((whole - halves).abs().max()):.3g}); this model kind is not supported"
        )


def context_of(lm: PreTrainedModel) -> int | None:
    """The positions that a model has; None for one that does not number them."""
    return getattr(lm.config.get_text_config(), "max_position_embeddings", None)


def check_context(lm: PreTrainedModel, sequence_length: int) -> None:
    """Raise ValueError unless every token of a sequence can look at all before it: packed rows come
    with a mask of their own, in place of the model's sliding window."""
    config = lm.config.get_text_config()
    for name in ("max_position_embeddings", "sliding_window"):
        limit = getattr(config, name, None)
        if limit and sequence_length > limit:
            raise ValueError(
                f"training.sequence_length is {sequence_length}, but the model's {name} is {limit}; "
                "allowed is at most that"
            )


class Window(NamedTuple):
    """Tokens [start, stop) of a document in one forward pass, read for the positions from `fresh`
    on."""

    start: int
    stop: int
    fresh: int


def windows(length: int, window: int, overlap: int) -> Iterator[Window]:
    """Cut `length` tokens so that every position is read once, after `overlap` tokens where there
    are as many."""
    assert 0 <= overlap < window
    stop = min(length, window)
    yield Window(0, stop, 0)
    while stop < length:
        fresh, start = stop, stop - overlap
        stop = min(length, start + window)
        yield Window(start, stop, fresh)


def batches_of_like_length(
    lengths: Sequence[int] | np.ndarray, batch_tokens: int, padding: float = 0.1
) -> Iterator[list[int]]:
    """Indexes in batches of at most `batch_tokens` positions (or one element), of which at most the
    share `padding` is padding; the longest come first."""
    batch: list[int] = []
    filled = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        size = (len(batch) + 1) * lengths[batch[0]] if batch else 0
        if size > batch_tokens or filled + lengths[index] < (1 - padding) * size:
            yield batch
            batch, filled = [], 0
        batch.append(index)
        filled += int(lengths[index])
    if batch:
        yield batch


class Reader:
    """Runs a language model over documents.

    Only entries that the tokenizer has get probability: a model may have more logits (padding), or ids without a token.
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

        Documents come back in an order of their own: those of like length share a forward pass. One that is longer than the
        window is read in windows that overlap by half.
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
    reading: Mapping[str, Any],
    window: int,
    batch_tokens: int,
    precision: str = "fp32",
) -> tuple[Renderer, Reader]:
    """How a model folder's documents are rendered, as `reading` says, and what reads them."""
    renderer = load_renderer(folder, **reading)
    lm = load_language_model(folder, precision, reading["trust_remote_code"])
    return renderer, Reader(lm, renderer.vocabulary, window, batch_tokens)
