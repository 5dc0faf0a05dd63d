"""The training loop: rows in, losses out, one table of metrics at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import distributed

from bld.config import Training
from bld.models import check_context, device
from bld.progress import progress
from bld.tokenization.rendering import Rendered
from bld.training.batches import Batch, Signals, step_batches
from bld.training.engine import build_engine, start_distributed
from bld.training.packing import pieces_of, step_rows
from bld.training.trainee import Trainee

if TYPE_CHECKING:
    from deepspeed.runtime.engine import DeepSpeedEngine

PARTS = ("loss", "token_loss", "byte_loss", "kl_loss")


def train(
    trainee: Trainee,
    documents: Sequence[Rendered],
    signals: Signals | None,
    settings: Training,
    seed: int,
    phase: str,
) -> tuple[DeepSpeedEngine, pd.DataFrame]:
    """Train in place; returns the engine and one row of metrics per step.

    Columns: phase, step, tokens (supervised, in the step), seconds, learning_rate, and the losses in nats; a part that
    the objective does not have is missing. Raises ValueError if there is nothing to train on or the model's context is too
    short, FloatingPointError as soon as a loss is not finite.
    """
    check_context(trainee.lm, settings.sequence_length)
    start_distributed()
    rank, world_size = distributed.get_rank(), distributed.get_world_size()
    torch.manual_seed(seed)
    pieces = [
        piece
        for piece in pieces_of([len(d) for d in documents], settings.sequence_length)
        if (documents[piece.document].symbol_T[piece.fresh : piece.stop] >= 0).any()
    ]
    if not pieces:
        raise ValueError("the training documents hold no supervised token; nothing can be learned")

    engine = build_engine(trainee, settings, world_size)
    engine.train()
    rows = islice(
        step_rows(pieces, settings.sequence_length, seed, settings.batch_size), settings.steps
    )
    table = []
    with progress(phase, settings.steps, "steps", disable=rank > 0) as bar:
        for step, step_of_rows in enumerate(rows):
            began = time.perf_counter()
            rate = engine.get_lr()[0]
            batches = list(
                step_batches(
                    documents, step_of_rows, signals, settings.micro_batch_size, rank, world_size
                )
            )
            losses = _optimise(engine, batches)
            seconds = time.perf_counter() - began
            tokens = round(batches[0].tokens * len(batches) * world_size)
            if not torch.isfinite(torch.tensor(losses["loss"])):
                raise FloatingPointError(
                    f"{phase}: the loss is {losses['loss']} at step {step}; lower the learning rate "
                    f"({settings.learning_rate:g}) or train in fp32"
                )
            table.append(
                {"phase": phase, "step": step, "tokens": tokens, "seconds": seconds}
                | {"learning_rate": rate, **{part: losses.get(part) for part in PARTS}}
            )
            bar.set_postfix(
                loss=f"{losses['loss']:.3f}", tokens_per_s=f"{tokens / seconds:,.0f}", refresh=False
            )
            bar.update()
    return engine, _typed(pd.DataFrame(table))


def _optimise(engine: DeepSpeedEngine, batches: Sequence[Batch]) -> dict[str, float]:
    """One optimiser step; the losses of the whole step, averaged over batches and processes."""
    sums: dict[str, torch.Tensor] = {}
    for batch in batches:
        losses = engine(batch.to(device()))
        engine.backward(losses["loss"])
        engine.step()
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0) + loss.detach() / len(batches)
    values = torch.stack(list(sums.values()))
    if distributed.get_world_size() > 1:
        distributed.all_reduce(values)
        values /= distributed.get_world_size()
    return dict(zip(sums, values.tolist(), strict=True))


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype(dict.fromkeys(("seconds", "learning_rate", *PARTS), "float64"))
