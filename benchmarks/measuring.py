"""Seconds, and mebibytes: what a piece of work took, and how much of it the model itself.

Memory is that of the process (resident, from Linux's /proc; None elsewhere) or of the GPU (as
torch's allocator counts it).
"""

from __future__ import annotations

import ctypes
import gc
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from transformers import PreTrainedModel

from bld.scoring.packed import PackedModel

PROCESS = Path("/proc/self")
RESET_PEAK = "5"
MIB = 1 << 20


def now(device: torch.device) -> float:
    """Seconds on some clock, once the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def timed(work: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    """The result of the work, and its seconds."""
    begin = now(device)
    result = work()
    return result, now(device) - begin


class Memory:
    """The memory of a device in MiB, None where it cannot be told."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._known = device.type == "cuda" or (PROCESS / "clear_refs").exists()

    def used(self) -> float | None:
        """What is in use now, free memory given back first."""
        gc.collect()
        if not self._known:
            return None
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device) / MIB
        ctypes.CDLL(None).malloc_trim(0)
        return _status("VmRSS")

    def reset_peak(self) -> None:
        """Let `peak` begin anew."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif self._known:
            (PROCESS / "clear_refs").write_text(RESET_PEAK)

    def peak(self) -> float | None:
        """The most that was in use since `reset_peak`."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / MIB
        return _status("VmHWM") if self._known else None


def _status(key: str) -> float:
    found = re.search(rf"^{key}:\s+(\d+) kB$", (PROCESS / "status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


@contextmanager
def forward_clock(lm: PreTrainedModel) -> Iterator[list[float]]:
    """Collects the seconds of every call of the model's body and of its output head.

    The head is called as a module by others and as `PackedModel.logits` by this project.
    """
    spent: list[float] = []
    begun = threading.local()
    logits = PackedModel.logits

    def begin(*_: Any) -> None:
        begun.at = now(lm.device)

    def end(*_: Any) -> None:
        spent.append(now(lm.device) - begun.at)

    def clocked_logits(self: PackedModel, hidden_WH: torch.Tensor) -> Iterator[torch.Tensor]:
        blocks = logits(self, hidden_WH)
        while True:
            begin()
            block = next(blocks, None)
            end()
            if block is None:
                return
            yield block

    halves = (lm.base_model, lm.get_output_embeddings())
    handles = [half.register_forward_pre_hook(begin) for half in halves]
    handles += [half.register_forward_hook(end) for half in halves]
    with patch.object(PackedModel, "logits", clocked_logits):
        yield spent
    for handle in handles:
        handle.remove()
