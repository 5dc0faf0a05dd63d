"""What GPUs can do at best, by their makers' data sheets, and what a plan assumes of one.

Peaks are of dense matrix products: without sparsity, and in float32 without TF32, which PyTorch leaves off.
"""

from __future__ import annotations

from typing import NamedTuple

from bld.config.settings import Plan
from bld.pipeline.record import SECONDS_PER_HOUR

TERA = 1e12
GIB = 2**30


class Peak(NamedTuple):
    """TFLOP/s in bfloat16 and in float32, and GiB of memory."""

    bf16: float
    fp32: float
    memory_gib: float


PEAKS = {
    "A100-40": Peak(312, 19.5, 40),
    "A100-80": Peak(312, 19.5, 80),
    "H100": Peak(989, 67, 80),
    "H200": Peak(989, 67, 140),
    "L40S": Peak(362, 91.6, 45),
    "MI300X": Peak(1307, 163.4, 192),
    "RTX-4090": Peak(165, 82.6, 24),
    # It has no matrix units for bfloat16.
    "V100-32": Peak(15.7, 15.7, 32),
}


class Gpu(NamedTuple):
    """A GPU as a plan takes it: TFLOP/s at best by precision, GiB of memory, the share of the peak that is reached."""

    name: str
    tflops: dict[str, float]
    memory_gib: float
    utilisation: float

    @property
    def memory(self) -> float:
        """Bytes."""
        return self.memory_gib * GIB

    def hours(self, flops: float, precision: str) -> float:
        """GPU-hours of so many floating-point operations."""
        per_second = self.tflops[precision] * TERA * self.utilisation
        return flops / per_second / SECONDS_PER_HOUR


def assumed_gpu(plan: Plan) -> Gpu:
    """The GPU that the section `plan` names; own numbers come before published ones."""
    peak = PEAKS.get(plan.gpu) or Peak(0, 0, 0)
    tflops = {name: plan.tflops or getattr(peak, name) for name in ("bf16", "fp32")}
    return Gpu(plan.gpu, tflops, plan.memory_gib or peak.memory_gib, plan.utilisation)
