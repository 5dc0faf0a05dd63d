"""A look at documents that are not trained on, while a training runs: the same objective, without
dropout and gradients, over all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from bld.models import device
from bld.symbols import END
from bld.tokenization.rendering import Rendered
from bld.training.batches import Batches
from bld.training.packing import Row, supervised_positions

if TYPE_CHECKING:
    from deepspeed.runtime.engine import DeepSpeedEngine

PARTS = ("token_loss", "byte_loss", "kl_loss", "teacher_loss")
DEVELOPMENT_COLUMNS = ("dev_bits_per_byte", *(f"dev_{part}" for part in PARTS))


@dataclass(frozen=True)
class Development:
    """Documents to look at every so many steps and after the last one; `patience`, if given, ends
    the training after so many looks in a row without a lower byte loss."""

    data: Batches
    every: int
    patience: int | None = None

    def is_due(self, steps_done: int, steps: int) -> bool:
        """Whether to look after so many steps."""
        return steps_done % self.every == 0 or steps_done == steps

    def has_seen_enough(self, table: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the byte loss has stopped falling, by the metrics so far."""
        if self.patience is None:
            return False
        losses = [row["dev_byte_loss"] for row in table if not math.isnan(row["dev_byte_loss"])]
        before, last = losses[: -self.patience], losses[-self.patience :]
        return bool(before) and min(last) >= min(before)


@torch.no_grad()
def evaluate(
    engine: DeepSpeedEngine, data: Batches, rows: Sequence[Row], micro_batch_size: int
) -> dict[str, float]:
    """The losses over all `rows`, in nats, each divided as in training by the supervised tokens or
    bytes of the whole; and bits per byte as `evaluation.bits_per_byte` counts them, where ends of turns
    are neither cost nor bytes.

    All processes call this and get the same numbers; random states are left as they are.
    """
    rank, world_size = distributed.get_rank(), distributed.get_world_size()
    tokens, symbols, content = _sizes(data.documents, rows)
    sums = torch.zeros(len(DEVELOPMENT_COLUMNS), dtype=torch.float64, device=device())
    present: set[str] = set()
    chunks = [rows[i : i + micro_batch_size] for i in range(0, len(rows), micro_batch_size)]
    engine.eval()
    for first in range(0, len(chunks), world_size):
        # Every process takes part in every round, as ZeRO 3 demands; some may have nothing to add.
        has_own = first + rank < len(chunks)
        batch = data.collate(chunks[first + rank if has_own else 0], tokens, symbols)
        losses = engine(batch.to(device()), content=True)
        present |= losses.keys()
        if has_own:
            found = [losses.get(name, 0.0) for name in ("content_nats", *PARTS)]
            sums += torch.tensor([float(value) for value in found], device=device()).double()
    engine.train()
    if world_size > 1:
        distributed.all_reduce(sums)
    nats, *parts = sums.tolist()
    named = zip(PARTS, parts, strict=True)
    return {
        "dev_bits_per_byte": nats / math.log(2) / content if content else math.nan,
        **{f"dev_{name}": value if name in present else math.nan for name, value in named},
    }


def _sizes(documents: Sequence[Rendered], rows: Sequence[Row]) -> tuple[int, int, int]:
    """Supervised tokens, symbols, and symbols that are bytes."""
    tokens = symbols = ends = 0
    for piece in (piece for row in rows for piece in row):
        document = documents[piece.document]
        token_S = supervised_positions(document, piece)
        tokens += len(token_S)
        symbols += int(document.count_T[token_S].sum())
        ends += int((document.symbols_N[document.symbol_T[token_S]] == END).sum())
    return tokens, symbols, symbols - ends
