"""What a training leaves behind beside weights: metrics by step and a summary of what it cost."""

from __future__ import annotations

import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import nn

from bld.files import appearing, write_json
from bld.models import device
from bld.pipeline.record import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from deepspeed.runtime.engine import DeepSpeedEngine


def join_phases(warmup: Path | None, metrics: pd.DataFrame) -> pd.DataFrame:
    """The metrics of the warm-up in folder `warmup`, if there was one, followed by those of the
    distillation."""
    before = [pd.read_parquet(warmup / "metrics.parquet")] if warmup else []
    return pd.concat([*before, metrics], ignore_index=True)


def save_records(
    engine: DeepSpeedEngine,
    metrics: pd.DataFrame,
    metrics_path: Path,
    summary_path: Path,
    teacher_window: int | None = None,
) -> None:
    """Write the metrics as parquet and the summary as JSON; only the first process calls this.

    Seconds, tokens and GPU-hours are of all phases, `tokens_per_second` and `long_documents` of
    the last one, beside which stands the `teacher_window` in which its teacher reads a document;
    `peak_memory_bytes` is that of the first process, since it started.
    """
    with appearing(metrics_path) as partial:
        metrics.to_parquet(partial, index=False)
    last = metrics[metrics["phase"] == metrics["phase"].iloc[-1]]
    trainee, seconds = engine.module, float(metrics["seconds"].sum())
    gpus = engine.world_size if device().type != "cpu" else 0
    write_json(
        summary_path,
        {
            "train_seconds": seconds,
            "train_tokens": int(metrics["tokens"].sum()),
            "tokens_per_second": int(last["tokens"].sum()) / float(last["seconds"].sum()),
            "gpu_hours": seconds * gpus / SECONDS_PER_HOUR,
            "steps": len(metrics),
            "parameters": parameter_count(trainee.lm),
            "head_parameters": parameter_count(trainee.head) if trainee.head else 0,
            "world_size": engine.world_size,
            "device": device().type,
            "peak_memory_bytes": peak_memory(),
            "long_documents": asdict(trainee.long_documents) | {"teacher_window": teacher_window},
        },
    )


def peak_memory() -> int:
    """The most bytes that this process has held: of its GPU's memory, as tensors, or without a GPU
    of the machine's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated(device())
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return resident if sys.platform == "darwin" else resident * 1024  # kibibytes, but for macOS


def parameter_count(module: nn.Module) -> int:
    """How many numbers are in its weights; ZeRO 3 leaves empty stand-ins that know their size."""
    return sum(getattr(p, "ds_numel", p.numel()) for p in module.parameters())
