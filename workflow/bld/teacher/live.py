"""The teacher inside the training step, for documents that are read once: no cache, the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bld.config import Scoring
from bld.documents.document import Document
from bld.documents.shards import read_split
from bld.teacher.kept import keep_most_probable, padded
from bld.teacher.scoring import ByteScorer, open_teacher

DOCUMENTS_IN_MEMORY = 256
Signal = tuple[np.ndarray, np.ndarray, np.ndarray]


class LiveSignals:
    """What `CachedSignals` gives, computed when it is asked for.

    Of every byte is kept what a cache would keep, to the same number of bits: the symbols that hold
    `mass`, but at most `at_most`. `documents` are the training documents, in their order. Those
    scored last are remembered: the pieces of a long document come one after the other.
    """

    def __init__(
        self, documents: Sequence[Document], scorer: ByteScorer, mass: float, at_most: int
    ) -> None:
        self._documents, self._scorer = documents, scorer
        self._mass, self._at_most = mass, at_most
        self._remembered: dict[int, Signal] = {}

    def read(self, documents: Sequence[int]) -> list[Signal]:
        """Of each: symbols [N, K] (PAD where unused), log-probabilities [N, K] (-inf where unused)
        and log tail mass [N]."""
        new = [number for number in documents if number not in self._remembered]
        scored = self._scorer.distributions(self._documents[number] for number in new)
        for number, one in zip(new, scored, strict=True):
            kept = keep_most_probable(one.log_probs_NS, one.lost_N, self._mass, self._at_most)
            self._remembered[number] = padded(kept, self._at_most)
        found = [self._remembered[number] for number in documents]
        oldest = list(self._remembered)[: max(0, len(self._remembered) - DOCUMENTS_IN_MEMORY)]
        for number in oldest:
            del self._remembered[number]
        return found


class LiveTeacher:
    """A teacher as its settings (`scoring` and `reading`) say, opened once for all splits."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        scoring = Scoring.model_validate(settings["scoring"])
        self._scorer = open_teacher(folder, settings["reading"], scoring)
        self._kept = scoring.keep_mass, scoring.keep_symbols

    def signals(self, split: Path, at_most: int | None = None) -> LiveSignals:
        """What it says of the documents in this folder of a split, the first `at_most` of them."""
        documents = list(islice(read_split(split), at_most))
        return LiveSignals(documents, self._scorer, *self._kept)
