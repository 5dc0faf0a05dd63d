"""What is counted over the rows of a cache: by the job that scores a shard, into the shard's
metadata; gathering adds them up."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from bld.cache.schema import Stored, StoredBytes, StoredTokens, columns_of


@dataclass
class Figures:
    """Sums and maxima. Lost mass is stored as float16, of which sums in float64 are exact, so that
    their order does not matter."""

    documents: int = 0
    symbols: int = 0
    documents_in_windows: int = 0
    kept: int = 0
    lost_mass: float = 0.0
    most_kept: int = 0
    most_kept_tokens: int = 0
    largest_lost_mass: float = 0.0

    def count(self, rows: pa.RecordBatch) -> None:
        """Count rows in."""
        count, windows = (rows.column(name).to_numpy() for name in ("count", "windows"))
        stored, tokens = _stored(StoredBytes, rows), _stored(StoredTokens, rows)
        self += Figures(
            documents=len(count),
            symbols=int(count.sum()),
            documents_in_windows=int((windows > 1).sum()),
            kept=int(stored.kept_N.sum()),
            lost_mass=float(stored.lost_mass_N.sum(dtype=np.float64)),
            most_kept=int(stored.kept_N.max(initial=0)),
            most_kept_tokens=int(tokens.kept_U.max(initial=0)),
            largest_lost_mass=float(stored.lost_mass_N.max(initial=0)),
        )

    def __iadd__(self, other: Figures) -> Figures:
        for name, value in asdict(other).items():
            own = getattr(self, name)
            is_largest = name.startswith(("most_", "largest_"))
            setattr(self, name, max(own, value) if is_largest else own + value)
        return self

    def to_json(self) -> str:
        """As they stand in a shard."""
        return json.dumps(asdict(self))

    def summary(self) -> dict[str, Any]:
        """As they stand in the manifest: means in place of sums over symbols."""
        summary = asdict(self)
        for name in ("kept", "lost_mass"):
            summary[f"mean_{name}"] = summary.pop(name) / max(1, self.symbols)
        return summary


def _stored(record: type[Stored], rows: pa.RecordBatch) -> Stored:
    """A record of the documents of a batch, end to end."""
    columns = columns_of(record).items()
    return record(**{f: rows.column(c.name).flatten().to_numpy() for f, c in columns})
