"""How far a student's byte distributions are from its teacher's, and what the true bytes cost both.

Both are read as ordinary token models and summed to bytes under the same policy, so the figures
compare two models and not two ways of summing. The student's byte head, which is gone at inference,
is compared with the teacher apart, at the bytes that it sees: it reads the student's own tokens and
predicts the first ten bytes of each.

Of single symbols only a few figures are kept, so memory does not grow with the documents as their
distributions would.

Shape letters: N supervised symbols, S symbols, M symbols that a byte head predicts, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from bld.documents.document import Document, check_same_text
from bld.evaluation import measures
from bld.evaluation.measures import AT_END, Table
from bld.files import finite
from bld.models import context_of, hidden_states
from bld.scoring.averaging import Scorer
from bld.scoring.scorer import ByteScorer, Scored
from bld.symbols import SYMBOLS
from bld.tokenization.rendered import Rendered
from bld.training.batches import Batches
from bld.training.heads import ByteHead, load_head
from bld.training.packing import Piece
from bld.windows import windows

MODELS = ("teacher", "student")


class HeadReader:
    """Runs a byte head on top of its student.

    Documents longer than `window` tokens, or than the model's context, are read in windows that
    overlap by half.
    """

    def __init__(self, head: ByteHead, lm: PreTrainedModel, window: int) -> None:
        self._head, self._lm = head.to(lm.device).eval(), lm
        self._window = min(window, context_of(lm) or window)

    @torch.no_grad()
    def read(self, document: Rendered) -> tuple[np.ndarray, np.ndarray]:
        """The symbols that the head predicts, [M], and its log-probabilities there, [M, 260]."""
        whole = Piece(0, 0, len(document), 1)
        batch = Batches([document]).collate([[whole]], 1.0, 1.0).to(self._lm.device)
        predictions = self._head(self._lm, self._hidden(batch.ids_BT), batch)
        return predictions.symbol_M.cpu().numpy(), predictions.log_probs_MS.cpu().numpy()

    def _hidden(self, ids_1T: torch.Tensor) -> torch.Tensor:
        width = ids_1T.shape[1]
        return torch.cat(
            [
                hidden_states(self._lm, ids_1T[:, start:stop])[0, fresh - start :]
                for start, stop, fresh in windows(width, self._window, self._window // 2)
            ]
        )


def open_head(kind: str, folder: Path, lm: PreTrainedModel, window: int) -> HeadReader:
    """What reads the trained head in `folder` on top of its student."""
    return HeadReader(load_head(kind, lm.config.get_text_config().hidden_size, folder), lm, window)


def byte_divergence(
    documents: Sequence[Document],
    teacher: Scorer,
    student: ByteScorer,
    head: HeadReader | None = None,
) -> dict[str, Any]:
    """Mean Jensen-Shannon divergence and KL(teacher || student) in nats over all supervised
    symbols, the bits per byte and calibration of both models, and all of it by kind of document and
    by position in the student's own tokens. Symbols END at which the template of one of the two
    writes something other than an end are left out: of ending that model says nothing there.

    A byte's position is 1 to 10, or 11 for all later ones; END has a row of its own, "end". Bits
    per byte are of the true bytes, `end_nats` what END costs. `kl` is None if it is infinite, and
    so are bits. KL is finite where both sum all prefix histories; where some are dropped, symbols
    that only those would have given are left without probability (END inside a word, for example).
    Calibration is over all symbols. `per_document` has sums in nats, those of models over bytes.
    `head` is None without one; `share` is how many of the bytes it sees.

    Raises ValueError if the documents hold no supervised byte.
    """
    if not any(document.supervised for document in documents):
        raise ValueError("the documents hold no supervised byte, so there is nothing to measure")
    tables: list[Table] = []
    of_head: list[Table] = []
    scored = (model.distributions(documents) for model in (teacher, student))
    for document, *both in zip(documents, *scored, strict=True):
        check_same_text(document.id, [model.document.supervised for model in both])
        rendered = student.renderer.render(document.segments, f"document {document.id}")
        symbols = _symbols(rendered, *both)
        untaught = sorted({row for scored in both for row in scored.untaught})
        tables.append({name: np.delete(column, untaught) for name, column in symbols.items()})
        if head:
            of_head.append(_head_symbols(rendered, both[0], symbols, untaught, head))
    table = measures.joined(tables)
    kinds = np.array([document.kind for document in documents])
    kind_N = kinds.repeat([len(one["position"]) for one in tables])
    return {
        "task": "byte_divergence",
        "documents": len(documents),
        **measures.counts_and_divergences(table),
        "models": {model: _model(table, model) for model in MODELS},
        "by_kind": {kind: _of_both(rows) for kind, rows in measures.groups(table, kind_N)},
        "by_position": [
            {"position": measures.position_name(position), **_of_both(rows)}
            for position, rows in measures.groups(table, table["position"])
        ],
        "per_document": list(map(_of_document, documents, tables)),
        "head": _of_head(measures.joined(of_head), table) if head else None,
    }


def _symbols(rendered: Rendered, teacher: Scored, student: Scored) -> Table:
    return (
        {"position": measures.positions(rendered)}
        | _distances(teacher.log_probs_NS, student.log_probs_NS)
        | measures.figures("teacher", teacher.log_probs_NS, rendered.symbols_N)
        | measures.figures("student", student.log_probs_NS, rendered.symbols_N)
    )


def _head_symbols(
    rendered: Rendered, teacher: Scored, table: Table, untaught: Sequence[int], head: HeadReader
) -> Table:
    """The symbols that the head predicts; what it gives to BOS and PAD the teacher never gives."""
    symbol_M, log_probs_MS = head.read(rendered)
    taught_M = ~np.isin(symbol_M, untaught)
    symbol_M, log_probs_MS = symbol_M[taught_M], log_probs_MS[taught_M]
    teacher_MS = teacher.log_probs_NS[symbol_M]
    missing = SYMBOLS - teacher_MS.shape[1]
    teacher_MS = np.pad(teacher_MS, ((0, 0), (0, missing)), constant_values=-np.inf)
    own = measures.rows_of(table, symbol_M)
    return (
        own
        | {"student_jsd": own["jsd"]}
        | _distances(teacher_MS, log_probs_MS)
        | measures.figures("head", log_probs_MS, rendered.symbols_N[symbol_M])
    )


def _distances(teacher_NS: np.ndarray, other_NS: np.ndarray) -> Table:
    return {
        "jsd": measures.jensen_shannon(teacher_NS, other_NS),
        "kl": measures.kullback_leibler(teacher_NS, other_NS),
    }


def _of_both(table: Table) -> dict[str, Any]:
    return {
        **measures.counts_and_divergences(table),
        "bits_per_byte": {model: measures.bits_per_byte(table, model) for model in MODELS},
        "calibration_error": {
            model: _reliability(table, model)["calibration_error"] for model in MODELS
        },
    }


def _model(table: Table, model: str) -> dict[str, Any]:
    return {
        "bits_per_byte": measures.bits_per_byte(table, model),
        "end_nats": measures.end_nats(table, model),
        **_reliability(table, model),
    }


def _reliability(table: Table, model: str) -> dict[str, Any]:
    return measures.reliability(table[f"{model}_confidence"], table[f"{model}_right"])


def _of_document(document: Document, table: Table) -> dict[str, Any]:
    is_byte = table["position"] != AT_END
    return {
        "id": document.id,
        "kind": document.kind,
        "group": document.group,
        "symbols": len(is_byte),
        "bytes": int(is_byte.sum()),
        "jsd": float(table["jsd"].sum()),
        "kl": finite(table["kl"].sum()),
        "nats": {model: finite(table[f"{model}_nats"][is_byte].sum()) for model in MODELS},
    }


def _of_head(table: Table, of_all: Table) -> dict[str, Any]:
    whole = measures.counts_and_divergences(table)
    return {
        **whole,
        "share": whole["bytes"] / measures.counts_and_divergences(of_all)["bytes"],
        **_model(table, "head"),
        "student_same": {
            "jsd": finite(table["student_jsd"].mean()),
            "bits_per_byte": measures.bits_per_byte(table, "student"),
        },
        "by_position": [
            {
                "position": measures.position_name(position),
                **measures.counts_and_divergences(rows),
                "bits_per_byte": measures.bits_per_byte(rows, "head"),
            }
            for position, rows in measures.groups(table, table["position"])
        ],
    }
