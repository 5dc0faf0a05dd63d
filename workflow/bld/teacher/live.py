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


class LiveSignals:
    """What `CachedSignals` gives, computed when it is asked for.

    Of every byte is kept what a cache would keep, to the same number of bits: the symbols that hold
    `mass`, but at most `at_most`. `documents` are the training documents, in their order.
    """

    def __init__(
        self, documents: Sequence[Document], scorer: ByteScorer, mass: float, at_most: int
    ) -> None:
        self._documents, self._scorer = documents, scorer
        self._mass, self._at_most = mass, at_most

    def read(self, documents: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Of each: symbols [N, K] (PAD where unused), log-probabilities [N, K] (-inf where unused)
        and log tail mass [N]."""
        scored = self._scorer.distributions(self._documents[number] for number in documents)
        return [
            padded(
                keep_most_probable(one.log_probs_NS, one.lost_N, self._mass, self._at_most),
                self._at_most,
            )
            for one in scored
        ]


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
