"""A method on its way through the benchmark: opened, run some times, and made a row of the
table."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from measuring import Memory, forward_clock, timed
from methods import Method
from subjects import Subject

from bld.documents.document import Document

WARM_UP_DOCUMENTS = 4


class Entry:
    """A method, and the documents that it is timed on.

    It is timed `repeats` times; if that is more than once, it warms up before and is run once more
    for the profile. `keeps`: whether what a run found is kept, see `found`.
    """

    def __init__(
        self,
        subject: Subject,
        make: Callable[[], Method],
        documents: Sequence[Document],
        repeats: int,
        keeps: bool = False,
    ) -> None:
        self.documents, self.repeats = documents, repeats
        self.found: list[np.ndarray] = []
        self._lm, self._keeps = subject.lm, keeps
        self._device = subject.lm.device
        self._memory = Memory(self._device)
        before = self._memory.used()
        self._make = make
        self.method = make()
        if repeats > 1:
            deque(self.method.score(documents[:WARM_UP_DOCUMENTS]), maxlen=0)
        self._standing = _difference(self._memory.used(), before)
        self._seconds: list[float] = []
        self._mib: list[float | None] = []
        self._profile: tuple[float, float] | None = None
        self._positions = 0

    def run(self) -> None:
        """Time it once."""
        before, positions = self._memory.used(), self.method.positions
        self._memory.reset_peak()
        _, seconds = timed(self._work, self._device)
        self._mib.append(_difference(self._memory.peak(), before))
        self._seconds.append(seconds)
        self._positions = self.method.positions - positions

    def profile(self) -> None:
        """Run it once more to see where the seconds go, on one thread: nothing overlaps then."""
        if self.repeats > 1:
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            method = self._make()
            with forward_clock(self._lm) as spent:
                _, seconds = timed(lambda: deque(method.score(self.documents), 0), self._device)
            self._profile = sum(spent), seconds - sum(spent)
            torch.set_num_threads(threads)

    def on(self, documents: Sequence[Document]) -> list[np.ndarray]:
        """What the method finds for documents: those that it was timed on, if that was kept."""
        return self.found or list(self.method.score(documents))

    def positions_on(self, documents: Sequence[Document]) -> int:
        """How many positions the model runs for documents."""
        before = self.method.positions
        deque(self.method.score(documents), maxlen=0)
        return self.method.positions - before

    @property
    def bytes_per_s(self) -> float:
        return self._bytes / statistics.median(self._seconds)

    def row(self, plain: Entry, genlm: Entry | None) -> dict[str, Any]:
        """What was measured, and its ratios to the two others."""
        nodes = self._positions / plain.positions_on(self.documents)
        ratio = self.bytes_per_s / plain.bytes_per_s
        known = [mib for mib in self._mib if mib is not None and self._standing is not None]
        model_s, other_s = self._profile or (None, None)
        return {
            **self.method.label,
            "documents": len(self.documents),
            "bytes": self._bytes,
            "repeats": self.repeats,
            "bytes_per_s": self.bytes_per_s,
            "nodes_per_token": nodes,
            "ratio_plain": ratio,
            "efficiency": ratio * nodes,
            "ratio_genlm": genlm and self.bytes_per_s / genlm.bytes_per_s,
            "peak_mib": max(known) + (self._standing or 0) if known else None,
            "model_s": model_s,
            "other_s": other_s,
        }

    @property
    def _bytes(self) -> int:
        return sum(len(document.supervised) for document in self.documents)

    def _work(self) -> None:
        work = self.method.score(self.documents)
        if self._keeps:
            self.found = list(work)
        else:
            deque(work, maxlen=0)


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before
