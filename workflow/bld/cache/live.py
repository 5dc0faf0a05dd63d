"""The teacher inside the training step, for documents that are read once: no cache, the same
numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bld.cache.reading import check_count
from bld.cache.top_k import Signal, keep_most_probable, keep_tokens, padded, padded_tokens
from bld.documents.document import Document
from bld.documents.numbered import NumberedDocuments
from bld.pipeline.step_settings import ScoreTeacher
from bld.scoring.averaging import Scorer, open_models
from bld.scoring.scorer import Scored, open_teacher


class LiveSignals:
    """What `CachedSignals` gives, computed when it is asked for.

    What a cache would store of every byte, to the same number of bits: the symbols that hold
    `top_p`, but at most `top_k`; so of every token, where the scorer scores them. `documents` are
    the training documents, in their order. Nothing is remembered: what shares a forward pass is
    what is asked for at once, so a training that goes on from a checkpoint reads the same to the
    last bit. `symbols`: how many supervised symbols the student has in each, if they may differ.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        scorer: Scorer,
        top_p: float,
        top_k: int,
        symbols: np.ndarray | None = None,
    ) -> None:
        self._documents, self._symbols, self._scorer = documents, symbols, scorer
        self._top_p, self._top_k = top_p, top_k

    def read(self, documents: Sequence[int]) -> list[Signal]:
        """The signal of each document; raises ValueError for one of which the teacher's template
        writes another text."""
        chosen = (self._documents[number] for number in documents)
        scored = self._scorer.distributions(chosen)
        return [self._signal(*pair) for pair in zip(scored, documents, strict=True)]

    def _signal(self, scored: Scored, number: int) -> Signal:
        if self._symbols is not None:
            found = len(scored.log_probs_NS)
            check_count(scored.document.id, self._symbols[number], found, "teacher")
        log_probs_NS, lost_N, scores = scored.log_probs_NS, scored.lost_N, scored.tokens
        kept = self._top_p, self._top_k, scored.untaught
        stored = keep_most_probable(log_probs_NS, lost_N, *kept)
        tokens = scores and padded_tokens(keep_tokens(scores), scores.ids_UK.shape[1])
        return padded(stored, self._top_k, tokens)


class LiveTeacher:
    """A teacher as its settings (`scoring`, `rendering` and, of several models, `average`) say,
    opened once for all splits."""

    def __init__(self, folders: Sequence[Path], settings: ScoreTeacher) -> None:
        scoring = settings.scoring
        rendered_as = settings.rendering, settings.average
        self._scorer = open_models(folders, *rendered_as, partial(open_teacher, scoring=scoring))
        self._kept = scoring.top_p, scoring.top_k_symbols

    @property
    def notes(self) -> list[str]:
        """Remarks on its models, see `ByteScorer.notes`."""
        return self._scorer.notes

    def signals(self, split: Path, symbols: np.ndarray) -> LiveSignals:
        """Its signals for the documents in this folder of a split, as many of the first ones as
        `symbols` has numbers."""
        return self.of(NumberedDocuments(split, len(symbols)), symbols)

    def of(self, documents: Sequence[Document], symbols: np.ndarray | None = None) -> LiveSignals:
        """Its signals for these documents."""
        return LiveSignals(documents, self._scorer, *self._kept, symbols)
