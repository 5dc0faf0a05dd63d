"""The teacher inside the training step, for documents that are read once: no cache, the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from bld.config import Scoring
from bld.documents.document import Document
from bld.documents.shards import read_split
from bld.teacher.averaging import Scorer, open_models
from bld.teacher.kept import keep_most_probable, padded
from bld.teacher.kept_tokens import Signal, TokenRows, keep_tokens, padded_tokens
from bld.teacher.scoring import open_teacher

DOCUMENTS_IN_MEMORY = 256


class LiveSignals:
    """What `CachedSignals` gives, computed when it is asked for.

    Of every byte is kept what a cache would keep, to the same number of bits: the symbols that hold
    `mass`, but at most `at_most`; so of every token, of which the scorer keeps some. `documents` are
    the training documents, in their order. Those scored last are remembered: the pieces of a long
    document come one after the other.
    """

    def __init__(
        self, documents: Sequence[Document], scorer: Scorer, mass: float, at_most: int
    ) -> None:
        self._documents, self._scorer = documents, scorer
        self._mass, self._at_most = mass, at_most
        self._remembered: dict[int, Signal] = {}

    def read(self, documents: Sequence[int]) -> list[Signal]:
        """What the teacher says of each."""
        new = [number for number in documents if number not in self._remembered]
        scored = self._scorer.distributions(self._documents[number] for number in new)
        for number, one in zip(new, scored, strict=True):
            kept = keep_most_probable(one.log_probs_NS, one.lost_N, self._mass, self._at_most)
            self._remembered[number] = Signal(
                *padded(kept, self._at_most), one.tokens and _as_kept(one.tokens)
            )
        found = [self._remembered[number] for number in documents]
        oldest = list(self._remembered)[: max(0, len(self._remembered) - DOCUMENTS_IN_MEMORY)]
        for number in oldest:
            del self._remembered[number]
        return found


class LiveTeacher:
    """A teacher as its settings (`scoring`, `reading` and, of several models, `average`) say, opened once
    for all splits."""

    def __init__(self, folders: Sequence[Path], settings: Mapping[str, Any]) -> None:
        scoring = Scoring.model_validate(settings["scoring"])
        read_as = settings["reading"], settings.get("average")
        self._scorer = open_models(folders, *read_as, partial(open_teacher, scoring=scoring))
        self._kept = scoring.keep_mass, scoring.keep_symbols

    def signals(self, split: Path, at_most: int | None = None) -> LiveSignals:
        """What it says of the documents in this folder of a split, the first `at_most` of them."""
        return self.of(list(islice(read_split(split), at_most)))

    def of(self, documents: Sequence[Document]) -> LiveSignals:
        """What it says of these documents."""
        return LiveSignals(documents, self._scorer, *self._kept)


def _as_kept(rows: TokenRows) -> TokenRows:
    return padded_tokens(keep_tokens(rows), rows.ids_UK.shape[1])
