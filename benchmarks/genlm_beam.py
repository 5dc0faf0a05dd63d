"""The beam of genlm-bytes 0.2.0 over genlm-backend 0.3.1 (arXiv 2412.03719), at its best here.

A text is read as its authors read one: `logp_next()` tells the next byte, `prune() << byte` goes
on. What `ByteBeamState.initial` does is done by hand, for it knows no other context than one start
token: a `LazyTrieState` over the rendered token ids in front of the text. Every special token ends
the text (`eos_byte_strings`), since to genlm-bytes their names would be text; their mass is one
outcome there, and is compared as such.

`K` is the number of hypotheses kept at a byte; `prune_threshold` the share of the beam's mass that
a hypothesis must exceed to be kept, and that one which ends a token must exceed to be evaluated.
Both are applied as by the `sample` and `prefill` of the package. Healing, which goes back when no
hypothesis can take a byte, is on, as by default.

What makes it fast on a small model, of what the package offers: the texts advance together, so that
their model calls share batches (asyncio.gather, the autobatching backend); the backend waits 1 ms
for further calls instead of its default of 20 ms, which costs a single text nine tenths of its
time; the batch is large enough for all. `cache_kv` stays unused: it keeps keys and values of
prompts, which are a few tokens here, and calls of the same tokens after different cached prompts
share one answer in this version. A run begins without cached model calls, and its trie is made
once.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from genlm.backend.llm import AsyncTransformer
from genlm.bytes import BeamParams, ByteBeamState
from genlm.bytes.byte_lm import LazyTrieState, StatefulTokenizedLM
from genlm.bytes.trie import EOS, AsyncTokenByteTrie
from subjects import Subject

from bld.documents.document import Document

BATCH_SIZE = 256
WAIT_SECONDS = 0.001


class GenlmBeam:
    """Byte distributions by genlm-bytes: 256 bytes, and the end."""

    def __init__(self, subject: Subject, width: int, eps: float) -> None:
        self.label = {"policy": "genlm-bytes", "eps": eps, "width": width}
        self.positions = 0
        self._subject = subject
        vocabulary = subject.renderer.vocabulary
        names = subject.tokenizer.convert_ids_to_tokens(sorted(vocabulary.special))
        ends = [name.encode() for name in names]
        self._params = BeamParams(K=width, prune_threshold=eps, eos_byte_strings=ends)
        byte_vocabulary = self._new_backend().byte_vocab
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse", UserWarning)
            self._trie = AsyncTokenByteTrie.from_vocab(
                byte_vocabulary, eos_byte_strings=ends, device=subject.lm.device.type
            )

    def score(self, documents: Sequence[Document]) -> Iterator[np.ndarray]:
        """The byte distributions of each document."""
        hook = self._subject.lm.register_forward_pre_hook(self._count, with_kwargs=True)
        try:
            yield from asyncio.run(self._together(documents))
        finally:
            hook.remove()

    async def _together(self, documents: Sequence[Document]) -> list[np.ndarray]:
        backend = self._new_backend()
        found = await asyncio.gather(*(self._document(backend, d) for d in documents))
        await self._trie.cleanup()
        return found

    async def _document(self, backend: AsyncTransformer, document: Document) -> np.ndarray:
        rendered = self._subject.renderer.render(document.segments, document.id)
        ids = rendered.ids_T.tolist()
        turns = [await self._turn(backend, ids[: t.first], t.text) for t in rendered.turns]
        return np.concatenate(turns)

    async def _turn(self, backend: AsyncTransformer, context: list[int], text: bytes) -> np.ndarray:
        first = LazyTrieState(
            lm_state=StatefulTokenizedLM.initial(backend, context),
            trie=self._trie,
            node=self._trie.trie.root,
            weight=0.0,
        )
        beam = ByteBeamState([await first.materialize()], self._params)
        rows = [(await beam.logp_next()).ps]
        for byte in text:
            beam = await (beam.prune() << byte)
            rows.append((await beam.logp_next()).ps)
        return np.stack(rows)[:, [*range(256), EOS]]

    def _new_backend(self) -> AsyncTransformer:
        lm, tokenizer = self._subject.lm, self._subject.tokenizer
        return AsyncTransformer(lm, tokenizer, batch_size=BATCH_SIZE, timeout=WAIT_SECONDS)

    def _count(self, _: Any, arguments: tuple[torch.Tensor], named: dict[str, Any]) -> None:
        new = arguments[0].shape[1]
        self.positions += int(named["attention_mask"][:, -new:].sum())
