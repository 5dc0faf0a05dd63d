"""Bits per byte of models whose byte distributions are averaged: they have no tokens in common, so
they are charged for bytes, summed over covers.

As in `bits_per_byte`, only supervised content counts, and the end of a turn is no byte and is
reported apart. For one model the figure is that of `byte_divergence`, which is seldom more than by
its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bld.documents.document import Document
from bld.evaluation.measures import AT_END, Table, bits_per_byte, end_nats, figures, finite, joined
from bld.scoring.averaging import Scorer
from bld.scoring.scorer import Scored
from bld.symbols import END, supervised_symbols

MODEL = "average"


def average_bits_per_byte(documents: Sequence[Document], scorer: Scorer) -> dict[str, Any]:
    """What `bits_per_byte.bits_per_byte` gives, by the scorer's byte distributions; figures that
    are infinite, since a true symbol has no probability, are None.

    Raises ValueError if the documents hold no supervised byte.
    """
    if not any(document.supervised for document in documents):
        raise ValueError("the documents hold no supervised byte, so there is nothing to measure")
    tables = [_symbols(scored) for scored in scorer.distributions(documents)]
    kinds: dict[str, list[Table]] = {}
    for document, table in zip(documents, tables, strict=True):
        kinds.setdefault(document.kind, []).append(table)
    return {
        "task": "bits_per_byte",
        **_total(tables),
        "end_nats": end_nats(joined(tables), MODEL),
        "by_kind": {kind: _total(kinds[kind]) for kind in sorted(kinds)},
        "per_document": [
            {
                "id": document.id,
                "kind": document.kind,
                "nats": finite(table[f"{MODEL}_nats"][table["position"] != AT_END].sum()),
                "bytes": int((table["position"] != AT_END).sum()),
            }
            for document, table in zip(documents, tables, strict=True)
        ],
    }


def _symbols(scored: Scored) -> Table:
    symbols_N = np.array(supervised_symbols(scored.document.segments), np.int64)
    position_N = np.where(symbols_N == END, AT_END, 1)
    return {"position": position_N} | figures(MODEL, scored.log_probs_NS, symbols_N)


def _total(tables: Sequence[Table]) -> dict[str, Any]:
    table = joined(tables)
    return {
        "bits_per_byte": bits_per_byte(table, MODEL),
        "bytes": int((table["position"] != AT_END).sum()),
        "documents": len(tables),
    }
