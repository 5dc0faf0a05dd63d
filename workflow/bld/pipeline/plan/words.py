"""Numbers of the plan, for readers."""

from __future__ import annotations

from bld.config.plan import GIB


def size(value: float) -> str:
    """Bytes with three digits, such as "86.4 GB" (10^9 bytes)."""
    return _scaled(value, ("B", "kB", "MB", "GB", "TB", "PB"))


def flops(value: float) -> str:
    """Floating-point operations with three digits, such as "1.23 PFLOP"."""
    return _scaled(value, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP", "ZFLOP"))


def count(value: float) -> str:
    """A whole number with commas."""
    return f"{value:,.0f}"


def short(value: float) -> str:
    """A large number with three digits, such as "3.21 B"."""
    return _scaled(value, ("", "k", "M", "B", "T")).strip()


def gib(value: float) -> str:
    """GiB of so many bytes, without the unit."""
    return f"{value / GIB:.1f}"


def hours(value: float) -> str:
    """Hours, or seconds, with no more digits than are of use."""
    if value >= 10:
        return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.01 or not value else "<0.01"


def _scaled(value: float, units: tuple[str, ...]) -> str:
    for unit in units[:-1]:
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} {units[-1]}"
