"""Scoring: documents in, a model's byte distributions out, and the scores of its own tokens.

A document is read in windows of the model's context; one that fits is a window of its own. Windows
of like length share a batch. Of a later window the first half repeats the end of the one before:
its own bytes begin where that one ended, and the histories that are still alive there are taken in.

Shapes: T tokens, N supervised symbols, S symbols.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel

from bld.config.settings import Histories, Rendering, Scoring
from bld.documents.document import Document
from bld.models import load_language_model
from bld.scoring.history_batch import HistoryBatch, Part, part_of, trunk_tree
from bld.scoring.packed import PackedBatch, PackedModel
from bld.scoring.prefixes import HistoryTree, PrefixEncoder
from bld.scoring.search import byte_distributions
from bld.scoring.token_scores import TokenScores, joined, no_scores
from bld.scoring.tokens import TrunkTokens
from bld.scoring.trie import Trie
from bld.symbols import TRIE_SYMBOLS
from bld.tokenization.rendered import Rendered, Turn
from bld.tokenization.rendering import Renderer, load_renderer
from bld.windows import Window, batches_of_like_length, windows

DOCUMENTS_AT_ONCE = 128


class Scored(NamedTuple):
    """A document's byte distributions: row n is that of supervised symbol n, given all before it.
    It is the document as the model's template writes it.

    `log_probs_NS`: float32, normalised. `lost_N`: float32, an upper bound of the fraction of mass
    that dropped histories would have had there. `windows`: in how many pieces the document was
    read. `tokens`: None where none are kept. `untaught`: rows at END that say nothing of ending,
    since the model's template writes something else after the answer (see `untaught_ends`).
    """

    document: Document
    log_probs_NS: np.ndarray
    lost_N: np.ndarray
    windows: int
    tokens: TokenScores[np.ndarray] | None = None
    untaught: tuple[int, ...] = ()


class Evaluated(NamedTuple):
    """Positions that the model ran: of the documents themselves, and of histories beside them."""

    trunk: int
    side: int


class _ScoredPart(NamedTuple):
    """The distributions and token scores of a part of a document."""

    part: Part
    log_probs_NS: np.ndarray
    lost_N: np.ndarray
    tokens: TokenScores[np.ndarray] | None


class ByteScorer:
    """Byte distributions of documents under a language model.

    Documents longer than `window` tokens, or than the model's context, are read in windows that
    overlap by half. A batch has at most `batch_tokens` positions, histories beside the documents
    not counted. At each token of the documents the `top_k_tokens` most probable ones are kept.
    `evaluated` counts what was run so far. Raises ValueError for a model that cannot be read like
    this, see `packed`.
    """

    def __init__(
        self,
        renderer: Renderer,
        lm: PreTrainedModel,
        policy: Histories,
        window: int,
        batch_tokens: int,
        top_k_tokens: int = 0,
        block_rows: int | None = None,
    ) -> None:
        self.renderer, self.lm = renderer, lm
        self.evaluated, self._counting = Evaluated(0, 0), Lock()
        self._policy = policy
        self._trie = Trie(renderer.vocabulary.of_model(len(lm.get_output_embeddings().weight)))
        self._top_k_tokens = min(top_k_tokens, len(self._trie.ids_I))
        self._prefixes = PrefixEncoder(renderer.content)
        self._model = PackedModel(lm, self._trie, batch_tokens, block_rows, window)
        self._window = min(window, self._model.context or window)
        # One batch a core, each on one thread: the result does not depend on how many there are. A
        # GPU is given the next batch while the last one's sums are weighted.
        on_cpu = lm.device.type == "cpu"
        workers = torch.get_num_threads() if on_cpu else 2
        self._workers = ThreadPoolExecutor(
            workers, initializer=torch.set_num_threads, initargs=(1,)
        )
        self._longest = max(map(len, filter(None, renderer.vocabulary.token_bytes)))

    @property
    def notes(self) -> list[str]:
        """Remarks on the model's tokenizer, and on how it is read."""
        return [*self.renderer.notes, *filter(None, [self._model.note])]

    def distributions(
        self, documents: Iterable[Document], at_once: int = DOCUMENTS_AT_ONCE
    ) -> Iterator[Scored]:
        """The documents' distributions, in their order; `at_once` are taken from the stream and
        share batches."""
        stream = iter(documents)
        while block := list(islice(stream, at_once)):
            yield from self._score(block)

    def _score(self, documents: list[Document]) -> Iterator[Scored]:
        rendered = [self.renderer.render(d.segments, f"document {d.id}") for d in documents]
        pieces = [
            (index, window)
            for index, one in enumerate(rendered)
            for window in windows(len(one), self._window, self._window // 2)
        ]
        trees = [[self._tree(turn, one) for turn in one.turns] for one in rendered]
        log_probs = [np.empty((len(r.symbols_N), TRIE_SYMBOLS), np.float32) for r in rendered]
        lost = [np.empty(len(r.symbols_N), np.float32) for r in rendered]
        scores = [{-1: no_scores(self._top_k_tokens)} for _ in rendered]
        lengths = [window.stop - window.start for _, window in pieces]
        batches = batches_of_like_length(lengths, self._model.batch_tokens)
        work = [self._work([pieces[i] for i in batch], rendered, trees) for batch in batches]
        read = partial(self._read, rendered)
        for found in self._workers.map(read, *zip(*work, strict=True)):
            for part, log_probs_NS, lost_N, tokens in found:
                index, symbols = part.document, slice(part.symbol, part.symbol + part.rows)
                if np.isnan(log_probs_NS).any():
                    raise ValueError(
                        f"document {documents[index].id}: the model gives some of its text no "
                        f"probability at all under the {self._policy.histories} policy; take it out"
                    )
                log_probs[index][symbols], lost[index][symbols] = log_probs_NS, lost_N
                if tokens:
                    scores[index][part.token] = tokens
        count = np.bincount([index for index, _ in pieces])
        for number, document in enumerate(documents):
            parts = [scores[number][token] for token in sorted(scores[number])]
            yield Scored(
                _as_written(document, rendered[number]),
                log_probs[number],
                lost[number],
                int(count[number]),
                joined(parts) if self._top_k_tokens else None,
                untaught_ends(rendered[number]),
            )

    def _tree(self, turn: Turn, rendered: Rendered) -> HistoryTree:
        trunk = rendered.ids_T[turn.first : turn.last].tolist()
        if self._policy.histories == "beam":
            return trunk_tree(trunk, self.renderer.vocabulary.token_bytes)
        return self._prefixes.tree(turn.text, trunk)

    def _work(
        self,
        batch: Sequence[tuple[int, Window]],
        rendered: Sequence[Rendered],
        trees: Sequence[Sequence[HistoryTree]],
    ) -> tuple[list[np.ndarray], list[Part]]:
        """The sequences of a batch, and the parts of supervised turns that they hold."""
        sequences, parts = [], []
        for row, (index, window) in enumerate(batch):
            sequences.append(rendered[index].ids_T[window.start : window.stop])
            turns = zip(rendered[index].turns, trees[index], strict=True)
            found = (part_of(*one, window, index, row, self._longest) for one in turns)
            parts += [part for part in found if part]
        return sequences, parts

    def _read(
        self,
        rendered: Sequence[Rendered],
        sequences: Sequence[np.ndarray],
        parts: Sequence[Part],
    ) -> list[_ScoredPart]:
        if not parts:
            return []
        scored = self._distributions(rendered, sequences, parts, torch.float32)
        if any(np.isnan(of_part.log_probs_NS).any() for of_part in scored):
            scored = self._distributions(rendered, sequences, parts, torch.float64)
        return scored

    def _distributions(
        self,
        rendered: Sequence[Rendered],
        sequences: Sequence[np.ndarray],
        parts: Sequence[Part],
        dtype: torch.dtype,
    ) -> list[_ScoredPart]:
        histories = HistoryBatch([part.span for part in parts])
        batch, kept = PackedBatch(self._model, sequences), self._top_k_tokens
        tokens = TrunkTokens(batch, self._trie, parts, rendered, kept) if kept else None
        log_probs_NS, lost_N = byte_distributions(
            self._trie, histories, tokens or batch, self._policy, dtype
        )
        with self._counting:
            self.evaluated = Evaluated(*map(sum, zip(self.evaluated, batch.evaluated, strict=True)))
        found, row = [], 0
        scores = tokens.scores() if tokens else [None] * len(parts)
        for part, of_part in zip(parts, scores, strict=True):
            rows = slice(row + part.skip, row + part.skip + part.rows)
            found.append(_ScoredPart(part, log_probs_NS[rows], lost_N[rows], of_part))
            row += len(part.span.text) + 1
        return found


def untaught_ends(rendered: Rendered) -> tuple[int, ...]:
    """The supervised symbols END at which a model's own text goes on without an end token.

    Where its template writes a space or a line break after an answer, the model says so there,
    with a probability near 1, and so that the answer does not end. Where it writes nothing more,
    what the model says there is its own.
    """
    return tuple(
        turn.symbol + len(turn.text)
        for turn in rendered.turns
        if not turn.ends and turn.last < len(rendered)
    )


def _as_written(document: Document, rendered: Rendered) -> Document:
    """The document as the model's template writes it."""
    written = list(rendered.segments)
    return document if written == document.segments else replace(document, segments=written)


def open_scorer(
    folder: Path,
    rendering: Rendering,
    policy: Histories,
    window: int,
    batch_tokens: int,
    precision: str = "fp32",
    top_k_tokens: int = 0,
) -> ByteScorer:
    """The scorer of a model folder whose documents are rendered as `rendering` says."""
    renderer = load_renderer(folder, **dict(rendering))
    lm = load_language_model(folder, precision, rendering.trust_remote_code)
    return ByteScorer(renderer, lm, policy, window, batch_tokens, top_k_tokens)


def open_teacher(folder: Path, rendering: Rendering, scoring: Scoring) -> ByteScorer:
    """The scorer of a teacher's folder."""
    limits = scoring.window, scoring.batch_tokens, scoring.precision
    return open_scorer(folder, rendering, scoring, *limits, scoring.top_k_tokens)
