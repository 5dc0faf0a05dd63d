"""Bits per byte: what a model pays for the text, per byte of the text itself, whatever its
tokenizer.

Only supervised content is counted: of a conversation the answers, given the questions. The end of a
turn is no byte and is reported apart.

A model is charged here for the one way in which its tokenizer spells a text. Summed over covers
(`byte_divergence`) it is charged for the text, however it might have been spelt, and of every turn
that fits into one window that is never more, with or without the end: the tokenizer's own spelling
is one of the covers, and histories that a policy leaves out are left out of what is divided by as
well, which only raises the share of what stays. So it holds for every policy that keeps the trunk;
a beam may lose it. Where every token is one byte, the two are the same. Models whose byte
distributions are averaged have no tokens in common, so they are charged for bytes, over covers.

Shape letters: B rows, T tokens, V vocabulary, H hidden, S symbols.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bld.documents.document import Document
from bld.evaluation.reader import Reader
from bld.files import finite
from bld.symbols import END, supervised_symbols
from bld.tokenization.rendered import Rendered
from bld.tokenization.rendering import Renderer

if TYPE_CHECKING:
    from bld.scoring.averaging import Scorer


def bits_per_byte(
    documents: Sequence[Document], renderer: Renderer, reader: Reader
) -> dict[str, Any]:
    """Bits per byte over all documents, by kind, and nats and bytes of each document.

    `end_nats` is the mean cost of ending a turn, with what the template writes before the end
    token; None if the rendering ends no turn. `notes`: what is worth telling of how the documents
    are rendered.
    """
    rendered = [renderer.render(d.segments, f"document {d.id}") for d in documents]
    nats, ends = [0.0] * len(documents), list[float]()
    for index, log_probs_TV in reader.log_probs([r.ids_T for r in rendered]):
        nats[index], of_ends = _nats(rendered[index], log_probs_TV)
        ends += of_ends
    sizes = [sum(len(turn.text) for turn in one.turns) for one in rendered]
    return _result(documents, nats, sizes, ends) | {"notes": renderer.told()}


def average_bits_per_byte(documents: Sequence[Document], scorer: Scorer) -> dict[str, Any]:
    """As `bits_per_byte`, by the scorer's byte distributions; figures that are infinite, since a
    true symbol has no probability, are None.

    Raises ValueError if the documents hold no supervised byte.
    """
    nats, sizes, ends = [], list[int](), list[float]()
    for scored in scorer.distributions(documents):
        symbols_N = np.array(supervised_symbols(scored.document.segments), np.int64)
        cost_N = 0 - scored.log_probs_NS[np.arange(len(symbols_N)), symbols_N].astype(np.float64)
        nats.append(float(cost_N[symbols_N != END].sum()))
        sizes.append(int((symbols_N != END).sum()))
        ends += cost_N[symbols_N == END].tolist()
    return _result(documents, nats, sizes, ends)


def _nats(rendered: Rendered, log_probs_TV: torch.Tensor) -> tuple[float, list[float]]:
    """What the supervised content costs, and what each supervised end costs."""
    ids_T = torch.from_numpy(rendered.ids_T.astype("int64")).to(log_probs_TV.device)
    cost_T = -log_probs_TV[:-1].gather(1, ids_T[1:, None])[:, 0].double().cpu()
    content = sum(float(cost_T[t.first - 1 : t.last - 1].sum()) for t in rendered.turns)
    ends = [cost_T[t.last - 1 : t.end] for t in rendered.turns if t.end is not None]
    return content, [float(cost.sum()) for cost in ends]


def _result(
    documents: Sequence[Document],
    nats: Sequence[float],
    sizes: Sequence[int],
    ends: Sequence[float],
) -> dict[str, Any]:
    """`nats`, and supervised bytes: of each document; `ends`: of each end of a turn."""
    if not any(sizes):
        raise ValueError("the documents hold no supervised byte, so there is nothing to measure")
    rows: list[dict[str, Any]] = [
        {"id": d.id, "kind": d.kind, "group": d.group, "nats": cost, "bytes": size}
        for d, cost, size in zip(documents, nats, sizes, strict=True)
    ]
    kinds = sorted({document.kind for document in documents})
    return {
        "task": "bits_per_byte",
        **_total(rows),
        "end_nats": finite(sum(ends) / len(ends)) if ends else None,
        "by_kind": {kind: _total([r for r in rows if r["kind"] == kind]) for kind in kinds},
        "per_document": [row | {"nats": finite(row["nats"])} for row in rows],
    }


def _total(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    nats, size = sum(row["nats"] for row in rows), sum(row["bytes"] for row in rows)
    bits = finite(nats / size / math.log(2)) if size else None
    return {"bits_per_byte": bits, "bytes": size, "documents": len(rows)}
