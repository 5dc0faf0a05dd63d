"""The teacher inside the training step, for documents that are read once: no cache, the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from bld.cache.kept import keep_most_probable, padded
from bld.config.settings import Scoring
from bld.documents.document import Document
from bld.documents.shards import read_split
from bld.scoring.averaging import Scorer, open_models
from bld.scoring.kept_tokens import Signal, TokenRows, keep_tokens, padded_tokens
from bld.scoring.scorer import open_teacher


class LiveSignals:
    """What `CachedSignals` gives, computed when it is asked for.

    Of every byte is kept what a cache would keep, to the same number of bits: the symbols that hold
    `mass`, but at most `at_most`; so of every token, of which the scorer keeps some. `documents` are
    the training documents, in their order. Nothing is remembered: what shares a forward pass is what is
    asked for at once, so a training that goes on from a checkpoint hears the same to the last bit.
    """

    def __init__(
        self, documents: Sequence[Document], scorer: Scorer, mass: float, at_most: int
    ) -> None:
        self._documents, self._scorer = documents, scorer
        self._mass, self._at_most = mass, at_most

    def read(self, documents: Sequence[int]) -> list[Signal]:
        """What the teacher says of each."""
        return [
            Signal(
                *padded(
                    keep_most_probable(one.log_probs_NS, one.lost_N, self._mass, self._at_most),
                    self._at_most,
                ),
                one.tokens and _as_kept(one.tokens),
            )
            for one in self._scorer.distributions(self._documents[number] for number in documents)
        ]


class LiveTeacher:
    """A teacher as its settings (`scoring`, `reading` and, of several models, `average`) say, opened once
    for all splits."""

    def __init__(self, folders: Sequence[Path], settings: Mapping[str, Any]) -> None:
        scoring = Scoring.model_validate(settings["scoring"])
        read_as = settings["reading"], settings.get("average")
        self._scorer = open_models(folders, *read_as, partial(open_teacher, scoring=scoring))
        self._kept = scoring.top_p, scoring.top_k_symbols

    def signals(self, split: Path, at_most: int | None = None) -> LiveSignals:
        """What it says of the documents in this folder of a split, the first `at_most` of them."""
        return self.of(list(islice(read_split(split), at_most)))

    def of(self, documents: Sequence[Document]) -> LiveSignals:
        """What it says of these documents."""
        return LiveSignals(documents, self._scorer, *self._kept)


def _as_kept(rows: TokenRows) -> TokenRows:
    return padded_tokens(keep_tokens(rows), rows.ids_UK.shape[1])
