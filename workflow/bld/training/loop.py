"""The training loop: rows in, losses out, one table of metrics at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import distributed
from tqdm import tqdm

from bld.config.registry import losses
from bld.config.settings import Training
from bld.models import check_context, device, memory_explained
from bld.progress import progress
from bld.training.batches import Batch, Batches
from bld.training.checkpoints import Checkpoints, Table
from bld.training.development import Development, evaluate, held_out_rows
from bld.training.embeddings import exact_embedding_sums
from bld.training.engine import build_engine, start_distributed
from bld.training.packing import step_rows
from bld.training.pieces import pieces_to_train
from bld.training.reading import reading_of
from bld.training.tracker import Tracking
from bld.training.trainee import Trainee

if TYPE_CHECKING:
    from deepspeed.runtime.engine import DeepSpeedEngine

    from bld.training.on_policy import OnPolicy

NOT_TRACKED = Tracking("none", Path())
PARTS = tuple(losses())
ALWAYS = ("grad_norm", "loss", *PARTS, "dev_bits_per_byte", *(f"dev_{part}" for part in PARTS))
"""Columns of every table, missing where a method has no such loss or a step no evaluation; what
else an objective returns has columns behind them."""
COUNTS = ("phase", "step", "tokens")


@memory_explained(
    "lower `micro_batch_size` or `sequence_length` under `training`, set "
    "`activation_checkpointing`, raise `zero_stage` or `offload`, or give the rule more GPUs "
    "in the profile"
)
def train(
    trainee: Trainee,
    data: Batches | OnPolicy,
    settings: Training,
    seed: int,
    phase: str,
    *,
    development: Development | None = None,
    checkpoints: Checkpoints | None = None,
    tracking: Tracking | None = None,
) -> tuple[DeepSpeedEngine, pd.DataFrame]:
    """Train in place; returns the engine and one row of metrics per step.

    Columns: phase, step, tokens (supervised, in the step), seconds (of the step, without evaluation
    and saving), learning_rate, grad_norm (before clipping), the losses that the objective returns,
    in nats, and where there was a development evaluation the dev_ columns (see
    `development.evaluate`). With `checkpoints` the training goes on where an earlier attempt
    stopped, and ends in the same weights and metrics as if it had not. Raises ValueError if there
    is nothing to train on or the model's context is too short, FloatingPointError as soon as a loss
    or a gradient is not finite, and what `Checkpoints` raises.
    """
    check_context(trainee.lm, settings.sequence_length)
    start_distributed()
    rank, world_size = distributed.get_rank(), distributed.get_world_size()
    trainee.reading, note = reading_of(trainee.lm, settings.sequence_length)
    if note and rank == 0:
        print(note)
    torch.manual_seed(seed)
    pieces, trainee.long_documents = pieces_to_train(data.documents, settings)
    if trainee.long_documents.long and rank == 0:
        print(trainee.long_documents)
    if not pieces:
        raise ValueError(_nothing_to_learn("training", trainee.long_documents.dropped))
    if development:
        held_out = held_out_rows(development, trainee, settings)
        if not held_out.rows:
            raise ValueError(_nothing_to_learn("development"))

    if settings.activation_checkpointing:
        trainee.lm.activation_checkpointing_enable({"use_reentrant": False})
    engine = build_engine(trainee, settings, world_size)
    engine.train()
    rows = step_rows(pieces, settings.sequence_length, seed, settings.batch_size)
    attempt: AbstractContextManager[Table]
    attempt = checkpoints.attempt(engine) if checkpoints else nullcontext([])
    shown = tracking if tracking and rank == 0 else NOT_TRACKED
    with (
        exact_embedding_sums(),
        attempt as table,
        closing(shown.begin(len(table))) as tracker,
        progress(phase, settings.steps, "steps", initial=len(table), disable=rank > 0) as bar,
    ):
        for step, step_of_rows in enumerate(islice(rows, settings.steps)):
            if step < len(table):
                continue
            if development and development.has_stopped_falling(table):
                break
            began = time.perf_counter()
            rate = engine.get_lr()[0]
            batches = list(
                data.step(step_of_rows, settings.micro_batch_size, rank, world_size, step)
            )
            losses = _optimise(engine, batches)
            row = {
                "phase": phase,
                "step": step,
                "tokens": batches[0].step_tokens,
                "seconds": time.perf_counter() - began,
                "learning_rate": rate,
                **dict.fromkeys(ALWAYS, float("nan")),
                **losses,
            }
            _check_finite(row, settings)
            if development and development.is_due(step + 1, settings.steps):
                row |= evaluate(engine, development.data, held_out)
            table.append(row)
            tracker.log(step, _values(row))
            if checkpoints:
                checkpoints.step_done(engine, table)
            _show(bar, row)
        if checkpoints:
            checkpoints.all_done(engine, table)
    return engine, _typed(pd.DataFrame(table))


def _nothing_to_learn(which: str, dropped: int = 0) -> str:
    found = f"no supervised token but in {dropped:,} that are longer than a row and left out"
    return (
        f"the {which} documents hold {found if dropped else 'no supervised token'}; nothing can "
        "be learned from them"
    )


def _optimise(engine: DeepSpeedEngine, batches: Sequence[Batch]) -> dict[str, float]:
    """One optimiser step; the losses of the whole step, averaged over batches and processes, and
    the norm of its gradient."""
    sums: dict[str, torch.Tensor] = {}
    norm: float | None = None
    for batch in batches:
        losses = engine(batch.to(device()))
        engine.backward(losses["loss"])
        if engine.zero_optimization_stage() == 0 and engine.is_gradient_accumulation_boundary():
            norm = _gradient_norm(engine)
        engine.step()
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0) + loss.detach() / len(batches)
    values = torch.stack(list(sums.values()))
    if distributed.get_world_size() > 1:
        distributed.all_reduce(values)
        values /= distributed.get_world_size()
    if norm is None:
        norm = float(engine.get_global_grad_norm())
    return {**dict(zip(sums, values.tolist(), strict=True)), "grad_norm": norm}


def _gradient_norm(engine: DeepSpeedEngine) -> float:
    """The norm of the gradient, which DeepSpeed does not compute at stage 0."""
    gradients = [p.grad for p in engine.module.parameters() if p.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def _check_finite(row: Mapping[str, Any], settings: Training) -> None:
    for name, key in (("loss", "loss"), ("norm of the gradient", "grad_norm")):
        if not torch.isfinite(torch.tensor(row[key])):
            raise FloatingPointError(
                f"{row['phase']}: the {name} is {row[key]} at step {row['step']}; lower the "
                f"learning rate ({settings.learning_rate:g}) or train in fp32"
            )


def _values(row: Mapping[str, Any]) -> dict[str, float]:
    """What is shown of a step while the training runs."""
    speed = row["tokens"] / row["seconds"]
    measured = {name: value for name, value in row.items() if name not in COUNTS}
    return measured | {"tokens_per_second": speed}


def _show(bar: tqdm, row: Mapping[str, Any]) -> None:
    """Put the losses and the speed behind the bar, which itself shows the time to go."""
    losses = {
        name.removesuffix("_loss"): f"{value:.3f}"
        for name, value in row.items()
        if name.endswith("loss") and not name.startswith("dev_") and value == value
    }
    speed = f"{row['tokens'] / row['seconds']:,.0f}"
    bar.set_postfix(losses | {"tokens_per_s": speed}, refresh=False)
    bar.update()


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype(dict.fromkeys(table.columns.drop([*COUNTS]), "float64"))
