"""DeepSpeed as the trainer uses it: one engine, torch's own AdamW, no launcher, no compiled
extensions on a CPU.

torch's AdamW and gloo need no compiler and make the same numbers on every machine of a kind; the
environment that DeepSpeed reads is set here, before it is imported.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed, nn

from bld.config.settings import Training

if TYPE_CHECKING:
    from deepspeed.runtime.engine import DeepSpeedEngine

NO_DECAY_BELOW_DIMENSIONS = 2


def start_distributed() -> None:
    """Join the other processes that torchrun started, or stand alone."""
    alone = {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "0",
    }
    if "RANK" not in os.environ:
        os.environ.update(alone)
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    else:
        os.environ["DS_ACCELERATOR"] = "cpu"
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)

    import deepspeed

    # Compiling the shared-memory collective takes 44 s and a compiler; gloo is enough.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(
        dist_backend="nccl" if on_gpu else "gloo", auto_mpi_discovery=False, verbose=False
    )


def stop_distributed() -> None:
    """Leave together, after everything that the processes do together."""
    distributed.barrier()
    distributed.destroy_process_group()


def build_engine(module: nn.Module, settings: Training, world_size: int) -> DeepSpeedEngine:
    """The engine for the parameters of `module` that are to be trained.

    Raises ValueError if the rows of a batch cannot be divided evenly.
    """
    import deepspeed

    rows_at_once = settings.micro_batch_size * world_size
    if settings.batch_size % rows_at_once:
        raise ValueError(
            f"training.batch_size is {settings.batch_size} rows, which {world_size} processes "
            f"cannot share in micro batches of {settings.micro_batch_size}; allowed are "
            f"multiples of {rows_at_once}"
        )
    optimizer = torch.optim.AdamW(
        parameter_groups(module.parameters(), settings.weight_decay),
        lr=settings.learning_rate,
        betas=settings.betas,
    )
    engine, *_ = deepspeed.initialize(
        model=module,
        optimizer=optimizer,
        lr_scheduler=torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate_at(step, settings)
        ),
        config={
            "train_batch_size": settings.batch_size,
            "train_micro_batch_size_per_gpu": settings.micro_batch_size,
            "gradient_clipping": settings.gradient_clipping,
            "bf16": {"enabled": settings.precision == "bf16"},
            "zero_optimization": _zero(settings),
            # torch's AdamW runs on the CPU as well and needs no compiler there.
            "zero_force_ds_cpu_optimizer": False,
            "steps_per_print": settings.steps + 1,
        },
    )
    return engine


def _zero(settings: Training) -> dict[str, Any]:
    zero: dict[str, Any] = {"stage": settings.zero_stage}
    if settings.offload != "none":
        zero["offload_optimizer"] = {"device": "cpu"}
    if settings.offload == "parameters":
        zero["offload_param"] = {"device": "cpu"}
    return zero


def parameter_groups(
    parameters: Iterable[nn.Parameter], weight_decay: float
) -> list[dict[str, Any]]:
    """AdamW's groups of what is to be trained: matrices decay, vectors (norms, biases) do not."""
    trained = [p for p in parameters if p.requires_grad]
    matrices = [p for p in trained if p.ndim >= NO_DECAY_BELOW_DIMENSIONS]
    vectors = [p for p in trained if p.ndim < NO_DECAY_BELOW_DIMENSIONS]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def rate_at(step: int, settings: Training) -> float:
    """The learning rate of a step (from 0) as a fraction of the peak."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return 1.0
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    if settings.schedule == "linear":
        return max(0.0, 1.0 - done)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
