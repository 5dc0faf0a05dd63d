"""What a job may use: minutes, memory, GPUs and nodes, attempt by attempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Limits(NamedTuple):
    """`runtimes`: minutes of each attempt, 0 for no limit; `mem_mb` of each attempt, 0 where nothing is said."""

    runtimes: tuple[float, ...]
    mem_mb: tuple[float, ...]
    gpus: int
    nodes: int

    @property
    def processes(self) -> int:
        """Processes of the job: one for each GPU, or one on the CPU."""
        return max(1, self.gpus)


def limits_of(attempts: Sequence[Mapping[str, float]]) -> Limits:
    """The limits that the resources of each attempt set, see `profile.resources_of`."""
    first = attempts[0]
    return Limits(
        runtimes=tuple(attempt.get("runtime", 0) for attempt in attempts),
        mem_mb=tuple(attempt.get("mem_mb", 0) for attempt in attempts),
        gpus=int(first.get("gpu", 0)),
        nodes=int(first.get("nodes", 1)),
    )
