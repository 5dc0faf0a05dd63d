"""What a person wants to see of a model: how it completes a few prompts, and how much each byte of
a passage surprises it.
"""

from __future__ import annotations

import math
from codecs import getincrementaldecoder
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteria

from bld.documents.document import Document, encode
from bld.files import finite
from bld.models import context_of, end_ids
from bld.scoring.scorer import ByteScorer
from bld.symbols import Segment
from bld.tokenization.rendering import PLAIN_ROLE, Renderer
from bld.tokenization.vocabulary import Vocabulary

SEED = 0


class Passage(NamedTuple):
    """The beginning of a document's supervised segment; its first byte is that supervised
    symbol."""

    document: Document
    symbol: int
    text: str


class Writer:
    """Completes prompts, one at a time, and every time in the same way.

    With `chats` a prompt is what a user says and the completion the answer, as the chat template of
    the model has it; else the prompt itself is continued. Where a completion ends is what the
    model's folder says, as for everybody who runs it.
    """

    def __init__(self, renderer: Renderer, lm: PreTrainedModel, chats: bool) -> None:
        self._renderer, self._lm, self._chats = renderer, lm, chats
        self._generate: Any = lm.generate
        self._context = context_of(lm)
        self._ends = end_ids(lm)
        # What the model's own leaves unsaid would be filled in from there: sampling, say, or a
        # penalty on repetition.
        lm.generation_config = GenerationConfig()
        logits = lm.get_output_embeddings().weight.shape[0]
        self._absent_ids = _absent(renderer.vocabulary.of_model(logits), logits) or None

    def complete(self, prompt: str, at_most: int, temperature: float = 0) -> dict[str, Any]:
        """The prompt, its `completion` of at most so many bytes, and whether the model `ended` it
        itself.

        Tokens are drawn, always from the same random numbers; with temperature 0 they are the most
        probable ones. What is not UTF-8 is replaced, and a character that the limit would cut is
        left out. Raises ValueError if the prompt leaves no room in the model's context.
        """
        ids = self._prompt_ids(prompt)
        room = self._context - len(ids) if self._context else at_most
        if room < 1:
            raise ValueError(
                f"the prompt {prompt[:40]!r} has {len(ids)} tokens and the context of the model "
                f"{self._context}, which leaves no room for a completion; make it shorter"
            )
        vocabulary = self._renderer.vocabulary
        ids_1T = torch.tensor([ids], device=self._lm.device)
        torch.manual_seed(SEED)
        found_1T = self._generate(
            ids_1T,
            attention_mask=torch.ones_like(ids_1T),
            generation_config=GenerationConfig(
                do_sample=temperature > 0,
                temperature=temperature or None,
                top_k=0 if temperature else None,
                max_new_tokens=min(room, at_most),
                eos_token_id=sorted(self._ends) or None,
                pad_token_id=min(self._ends, default=0),
                suppress_tokens=self._absent_ids,
            ),
            stopping_criteria=[_Spelt(vocabulary, len(ids), at_most)],
        )
        new = found_1T[0, len(ids) :].tolist()
        ended = new[-1] in self._ends
        text = _decoded(_spelt(new, vocabulary)[:at_most], whole=ended)
        return {"prompt": prompt, "completion": text, "ended": ended}

    def _prompt_ids(self, prompt: str) -> list[int]:
        """All tokens before the first one of the completion."""
        text = encode(prompt, f"prompt {prompt!a}")
        if self._chats:
            segments = [Segment("user", text, False), Segment("assistant", b"", True)]
        else:
            segments = [Segment(PLAIN_ROLE, text, True)]
        rendered = self._renderer.render(segments, f"prompt {prompt!a}")
        turn = rendered.turns[0]
        ids: list[int] = rendered.ids_T[: turn.opens if self._chats else turn.last].tolist()
        return ids


class _Spelt(StoppingCriteria):
    """Stop when so many bytes are spelt."""

    def __init__(self, vocabulary: Vocabulary, start: int, at_most: int) -> None:
        self._vocabulary, self._start, self._at_most = vocabulary, start, at_most

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        size = len(_spelt(input_ids[0, self._start :].tolist(), self._vocabulary))
        return torch.tensor([size >= self._at_most], device=input_ids.device)


def find_passage(documents: Iterable[Document], size: int) -> Passage:
    """The first `size` bytes of the one supervised segment of the first document that has just one,
    of at least half of that; if there is none, of the longest supervised segment of all.
    Conversations with reasoning or calls are left out, of which models write more than contents.

    It ends with a whole character and does not depend on any model. Raises ValueError if no
    document has a supervised byte.
    """
    longest, most = None, 0
    for document in documents:
        if document.has_fields:
            continue
        supervised = [segment.text for segment in document.segments if segment.supervised]
        if len(supervised) == 1 and 2 * len(supervised[0]) >= size:
            return Passage(document, 0, _decoded(supervised[0][:size]))
        symbol = 0
        for text in supervised:
            if len(text) > most:
                longest, most = Passage(document, symbol, _decoded(text[:size])), len(text)
            symbol += len(text) + 1
    if longest is None:
        raise ValueError(
            "the documents without reasoning and calls hold no supervised byte, so there is no "
            "passage to show"
        )
    return longest


def surprise(passage: Passage, scorer: ByteScorer) -> list[float | None]:
    """The bits of every byte of the passage, given all before it; None for infinitely many."""
    [scored] = scorer.distributions([passage.document])
    true_N = np.frombuffer(passage.text.encode(), np.uint8)
    rows_N = passage.symbol + np.arange(len(true_N))
    bits_N = -scored.log_probs_NS[rows_N, true_N].astype(np.float64) / math.log(2)
    return [finite(bits) for bits in bits_N]


def _absent(vocabulary: Vocabulary, logits: int) -> list[int]:
    """Logits that stand for no token."""
    unused = {i for i, spelt in enumerate(vocabulary.token_bytes) if spelt is None}
    return sorted(unused - vocabulary.special) + list(range(len(vocabulary), logits))


def _spelt(ids: Sequence[int], vocabulary: Vocabulary) -> bytes:
    return b"".join(vocabulary.token_bytes[i] or b"" for i in ids)


def _decoded(text: bytes, whole: bool = False) -> str:
    """As characters, wrong bytes replaced; half a character at the end is left out of a text that
    is not whole."""
    return getincrementaldecoder("utf-8")("replace").decode(text, whole)
