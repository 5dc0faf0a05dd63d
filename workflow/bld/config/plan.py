"""The settings that only `snakemake plan` reads: what it assumes of the machines."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field

from bld.config.documents import Fraction, NonNegative, Positive, Section

TERA = 1e12
GIB = 2**30


class Peak(NamedTuple):
    """TFLOP/s in bfloat16 and in float32, and GiB of memory, by the data sheet: of dense matrix
    products without sparsity, and in float32 without TF32, which PyTorch leaves off."""

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


class Plan(Section):
    """What `snakemake plan` assumes of the machines."""

    reruns = "nothing: only `snakemake plan` reads it"

    gpu: str = "H100"
    """The GPU: A100-40, A100-80, H100, H200, L40S, MI300X, RTX-4090 or V100-32; or any other with
    the two numbers below."""
    tflops: Positive | None = None
    """Its peak TFLOP/s in the precision of your runs; null takes the published one."""
    memory_gib: Positive | None = None
    """Its memory in GiB; null takes the published one."""
    utilisation: Fraction = 0.35
    """Fraction of the peak that is reached, in training and scoring."""
    job_minutes: NonNegative = Field(15)
    """Minutes that a job needs besides its work: to start, load, read its documents and save."""

    def peak(self, precision: str) -> float:
        """TFLOP/s at best; numbers of one's own come before published ones."""
        return self.tflops or float(getattr(PEAKS[self.gpu], precision))

    @property
    def memory(self) -> float:
        """Bytes of a GPU."""
        return GIB * (self.memory_gib or PEAKS[self.gpu].memory_gib)

    def gpu_hours(self, flops: float, precision: str) -> float:
        """The time of so many floating-point operations on one GPU."""
        return flops / (self.peak(precision) * TERA * self.utilisation) / 3600
