"""What a training keeps in the memory of one GPU.

States of the model: Rajbhandari et al. 2020 (ZeRO, arXiv 1910.02054, section 3 and figure 1). With
mixed precision a trained parameter has 2 bytes of weight, 2 of gradient and 12 of optimiser (a
float32 copy, momentum, variance); stage 1 shares the optimiser out between the processes, stage 2
the gradients too, stage 3 the weights too. (DeepSpeed's own estimators know neither stage 1 nor
frozen weights nor float32.)

Activations: what PyTorch keeps of a layer of transformers' Llama between the passes, see
`layer_bytes`. (The count of Korthikanti et al. 2022, arXiv 2205.05198, is for another layer.)
"""

from __future__ import annotations

from typing import NamedTuple

from bld.config.plan import GIB
from bld.config.settings import Training
from bld.pipeline.plan.shapes import NORM_BYTES, WEIGHT_BYTES, Shape
from bld.symbols import SYMBOLS

FLOAT32 = 4
MOMENTS = 8
# What stands beside a student on the GPU: CUDA itself, libraries, DeepSpeed's buckets (5e8
# elements), gaps.
RESERVE = 4 * GIB
# DeepSpeed's stage3_max_live_parameters: so many are gathered at once at stage 3.
LIVE_PARAMETERS = 1e9
# Losses are computed for so many tokens at once; a logit takes its bytes several times on the way.
BLOCK_TOKENS, LOGIT_BYTES = 512, 16


class States(NamedTuple):
    """Bytes of weights, gradients and optimiser in one process."""

    weights: float
    gradients: float
    optimizer: float


class Memory(NamedTuple):
    """Bytes in one GPU: the states, the work at its height, a live teacher; and the model while it
    is loaded, whole and in float32, before any of the rest is there."""

    weights: float
    gradients: float
    optimizer: float
    work: float
    teacher: float = 0
    loading: float = 0

    @property
    def total(self) -> float:
        """At the height of all."""
        working = self.weights + self.gradients + self.optimizer + self.work + self.teacher
        return RESERVE + max(working, self.loading)


def optimizer_bytes(training: Training) -> int:
    """Of each trained parameter: two moments, and a float32 copy except in plain float32."""
    plain = training.precision == "fp32" and not training.zero_stage
    return MOMENTS + (0 if plain else FLOAT32)


def states(trained: float, frozen: float, training: Training, processes: int) -> States:
    """What ZeRO leaves to one of `processes`; frozen parameters have weights alone."""
    stage, width = training.zero_stage, WEIGHT_BYTES[training.precision]
    weights = width * (trained + frozen) / (processes if stage == 3 else 1)
    gradients = width * trained / (processes if stage >= 2 else 1)
    optimizer = optimizer_bytes(training) * trained / (processes if stage >= 1 else 1)
    return States(
        0 if training.offload == "parameters" else weights,
        gradients,
        optimizer if training.offload == "none" else 0,
    )


def layer_bytes(shape: Shape, context: float, precision: str) -> float:
    """What a layer keeps of one token for the backward pass: inputs of its norms and matrices,
    queries, keys, values and outcome of attention, four vectors of the feed-forward layer; scores
    only where attention caps them (Gemma 2)."""
    norms = NORM_BYTES.get(shape.kind, NORM_BYTES["llama"]) * shape.hidden
    scores = 8 * shape.heads * context if shape.kind == "gemma2" else 4 * shape.heads
    kept = norms + 8 * shape.width + 8 * shape.intermediate + scores + 32
    return kept * WEIGHT_BYTES[precision] / 2


def work_bytes(
    shape: Shape, training: Training, tokens: float, trained: float, processes: int, symbols: float
) -> float:
    """The height of the work in one process on `tokens` at once: in the backward pass, or in the
    optimiser's step, which takes a float32 copy of its part of the gradients. `symbols`: predicted
    bytes per token."""
    width = WEIGHT_BYTES[training.precision]
    layer = tokens * layer_bytes(shape, training.sequence_length, training.precision)
    if training.activation_checkpointing:
        kept = shape.layers * tokens * width * shape.hidden + 2 * layer
    else:
        kept = (shape.layers + 1) * layer
    token_logits = min(tokens, BLOCK_TOKENS) * shape.vocabulary
    logits = LOGIT_BYTES * (token_logits + tokens * symbols * SYMBOLS)
    backward = kept + logits + width * shape.table
    if training.zero_stage == 3:
        backward += width * min(shape.parameters, LIVE_PARAMETERS)
    step = FLOAT32 * trained / (processes if training.zero_stage else 1)
    return max(backward, 0 if training.offload != "none" else step)


def checkpoint_bytes(trained: float, training: Training) -> float:
    """A checkpoint of all processes together: trained weights, which stage 3 keeps in the
    optimiser's copy alone, and optimiser; frozen weights are not saved."""
    weights = 0 if training.zero_stage == 3 else WEIGHT_BYTES[training.precision]
    return trained * (weights + optimizer_bytes(training))


def host_bytes(
    shape: Shape, training: Training, trained: float, processes: int, nodes: int
) -> float:
    """Memory of one node: every process reads the weights in float32, and what is offloaded waits
    there."""
    offloaded = 0.0
    if training.offload != "none":
        offloaded += (optimizer_bytes(training) + FLOAT32) * trained / nodes
    if training.offload == "parameters":
        offloaded += WEIGHT_BYTES[training.precision] * shape.parameters / nodes
    return processes / nodes * (FLOAT32 * shape.parameters + RESERVE) + offloaded
