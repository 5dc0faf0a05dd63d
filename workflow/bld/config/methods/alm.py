"""Approximate likelihood matching."""

from __future__ import annotations

from typing import Literal

from bld.config.documents import Fraction, NonNegative, Positive
from bld.config.method import TEAL, Distillation, Series


class AlmSettings(Distillation):
    """Approximate likelihood matching, arXiv 2503.20083: how probable both models find the same
    chunks of text."""

    title = "Approximate likelihood matching"
    paper = "2503.20083"
    series = (Series("alm", "ALM with SFT", TEAL), Series("alm plain", "ALM", TEAL, "s"))

    chunk_weight: NonNegative = 1.0
    """Weight of the divergence from the teacher."""
    temperature: Positive = 100.0
    """Both probabilities of a chunk are taken to the power of one over this (tau)."""
    divergence: Literal["kl", "reverse_kl", "total_variation"] = "kl"
    """Of the outcomes "this chunk" and "any other": from teacher to student, from student to
    teacher, or their distance."""
    boundary: Fraction | None = 0.1
    """Chunks end where the teacher gives the start of a new word more than this (gamma), and that
    start counts as part of them; null takes the shortest chunks as they are."""
