"""Development evaluations: the objective of a training, without dropout and gradients, over
documents that are not trained on, while the training runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import distributed

from bld.config.settings import Training
from bld.models import context_of, device
from bld.symbols import END
from bld.tokenization.rendered import RenderedTokens
from bld.training.batches import Batches
from bld.training.packing import Row, epoch_rows, supervised_positions
from bld.training.pieces import evaluated_pieces
from bld.training.reading import Reading, reading_of
from bld.training.trainee import Trainee

if TYPE_CHECKING:
    from deepspeed.runtime.engine import DeepSpeedEngine


@dataclass(frozen=True)
class Development:
    """A development evaluation every so many steps and after the last one, in windows of so many
    tokens; `patience`, if given, ends the training after so many evaluations in a row without a
    lower byte loss."""

    data: Batches
    every: int
    window: int
    patience: int | None = None

    def is_due(self, steps_done: int, steps: int) -> bool:
        """Whether to evaluate after so many steps."""
        return steps_done % self.every == 0 or steps_done == steps

    def has_stopped_falling(self, table: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the byte loss has not fallen for `patience` evaluations, by the metrics so
        far."""
        if self.patience is None:
            return False
        losses = [row["dev_byte_loss"] for row in table if not math.isnan(row["dev_byte_loss"])]
        before, last = losses[: -self.patience], losses[-self.patience :]
        return bool(before) and min(last) >= min(before)


class HeldOut(NamedTuple):
    """Documents of a development evaluation in rows, of which `at_once` are read at once, and how
    they are read."""

    rows: list[Row]
    at_once: int
    reading: Reading


def held_out_rows(development: Development, trainee: Trainee, settings: Training) -> HeldOut:
    """Rows that hold what an evaluation reads in one window, which makes them longer than those of
    the training where documents are; then fewer are read at once. A trainee reads others as it
    reads those of its training."""
    data, lm, window = development.data, trainee.lm, development.window
    if context := context_of(lm):
        window = min(window, context - (data.histories.extra_positions if data.histories else 0))
    pieces = evaluated_pieces(data.documents, window)
    length = max([settings.sequence_length, *pieces.width_P.tolist()])
    rows = [*epoch_rows(pieces, length, seed=0, epoch=0)]
    at_once = max(1, settings.micro_batch_size * settings.sequence_length // length)
    is_longer = length > settings.sequence_length
    return HeldOut(rows, at_once, reading_of(lm, length)[0] if is_longer else trainee.reading)


@torch.no_grad()
def evaluate(engine: DeepSpeedEngine, data: Batches, held_out: HeldOut) -> dict[str, float]:
    """The losses over all rows, in nats, each divided as in training by the supervised tokens or
    bytes of the whole, under their names after `dev_`; and `dev_bits_per_byte` as
    `evaluation.bits_per_byte` counts them, where ends of turns are neither cost nor bytes.

    All processes call this and get the same numbers; random states are left as they are.
    """
    rank, world_size = distributed.get_rank(), distributed.get_world_size()
    rows, at_once, reading = held_out
    tokens, symbols, content = _sizes(data.documents, rows)
    sums: dict[str, torch.Tensor] = {}
    chunks = [rows[i : i + at_once] for i in range(0, len(rows), at_once)]
    engine.eval()
    in_training, engine.module.reading = engine.module.reading, reading
    for first in range(0, len(chunks), world_size):
        # Every process takes part in every round, as ZeRO 3 demands; some may have nothing to add.
        has_own = first + rank < len(chunks)
        batch = data.collate(chunks[first + rank if has_own else 0], tokens, symbols)
        for name, loss in engine(batch.to(device()), content=True).items():
            nothing = torch.zeros((), dtype=torch.float64, device=device())
            sums[name] = sums.get(name, nothing) + (loss.float().double() if has_own else nothing)
    engine.train()
    engine.module.reading = in_training
    del sums["loss"]
    values = torch.stack(list(sums.values()))
    if world_size > 1:
        distributed.all_reduce(values)
    losses = dict(zip(sums, values.tolist(), strict=True))
    nats = losses.pop("content_nats")
    return {
        "dev_bits_per_byte": nats / math.log(2) / content if content else math.nan,
        **{f"dev_{name}": value for name, value in losses.items()},
    }


def _sizes(documents: Sequence[RenderedTokens], rows: Sequence[Row]) -> tuple[int, int, int]:
    """Supervised tokens, symbols, and symbols that are bytes."""
    tokens = symbols = ends = 0
    for piece in (piece for row in rows for piece in row):
        document = documents[piece.document]
        token_S = supervised_positions(document, piece)
        tokens += len(token_S)
        symbols += int(document.count_T[token_S].sum())
        is_end_S = document.symbols_N[document.symbol_T[token_S]] == END
        ends += int(document.count_T[token_S[is_end_S]].sum())
    return tokens, symbols, symbols - ends
