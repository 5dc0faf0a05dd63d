"""Bits per byte: what a model pays for the text, per byte of the text itself, whatever its
tokenizer.

Only supervised content is counted: of a conversation the answers, given the questions. The end of a
turn is no byte and is reported apart.

A model is charged here for the one way in which its tokenizer spells a text. Summed over covers
(`byte_divergence`) it is charged for the text, however it might have been spelt, and of every turn
that fits into one window that is never more, with or without the end: the tokenizer's own spelling
is one of the covers, and histories that a policy leaves out are left out of what is divided by as
well, which only raises the share of what stays. So it holds for every policy that keeps the trunk;
a beam may lose it. Where every token is one byte, the two are the same.

Shape letters: B rows, T tokens, V vocabulary, H hidden.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from bld.documents.document import Document
from bld.evaluation.reader import Reader
from bld.tokenization.rendering import Rendered, Renderer


def bits_per_byte(
    documents: Sequence[Document], renderer: Renderer, reader: Reader
) -> dict[str, Any]:
    """Bits per byte over all documents, by kind, and nats and bytes of each document.

    `end_nats` is the mean cost of ending a turn, None if the rendering ends no turn.
    """
    rendered = [renderer.render(d.segments, f"document {d.id}") for d in documents]
    rows: list[dict[str, Any]] = [{}] * len(documents)
    ends: list[float] = []
    for index, log_probs_TV in reader.log_probs([r.ids_T for r in rendered]):
        nats, end_nats = _nats(rendered[index], log_probs_TV)
        document = documents[index]
        ends += end_nats
        rows[index] = {
            "id": document.id,
            "kind": document.kind,
            "nats": nats,
            "bytes": sum(len(turn.text) for turn in rendered[index].turns),
        }
    kinds = sorted({row["kind"] for row in rows})
    return {
        "task": "bits_per_byte",
        **_total(rows),
        "end_nats": sum(ends) / len(ends) if ends else None,
        "by_kind": {kind: _total([r for r in rows if r["kind"] == kind]) for kind in kinds},
        "per_document": rows,
    }


def _nats(rendered: Rendered, log_probs_TV: torch.Tensor) -> tuple[float, list[float]]:
    """What the supervised content costs, and what each supervised end costs."""
    ids_T = torch.from_numpy(rendered.ids_T.astype("int64")).to(log_probs_TV.device)
    cost_T = -log_probs_TV[:-1].gather(1, ids_T[1:, None])[:, 0].double().cpu()
    content = sum(float(cost_T[t.first - 1 : t.last - 1].sum()) for t in rendered.turns)
    return content, [float(cost_T[t.last - 1]) for t in rendered.turns if t.ends]


def _total(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    nats, size = sum(row["nats"] for row in rows), sum(row["bytes"] for row in rows)
    if not size:
        raise ValueError("the documents hold no supervised byte, so there is nothing to measure")
    return {"bits_per_byte": nats / size / math.log(2), "bytes": size, "documents": len(rows)}
