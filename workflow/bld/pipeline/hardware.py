"""What a record says of the machine, and what a step took of it: memory, GPUs, energy.

Nothing is imported for its sake: GPUs are asked about through torch if the step has used one, their
driver and energy through NVML if its package (nvidia-ml-py) is installed.
"""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

POWERCAP = Path("/sys/class/powercap")
# A counter of a processor's energy begins anew after some minutes under load.
SECONDS_BETWEEN_READINGS = 30
MICRO, MILLI = 1e-6, 1e-3


def hardware() -> dict[str, Any]:
    """The class of the machine, without its name: processor, cores that this process may use,
    memory, and the GPUs that it sees, if it has used one."""
    return {
        "host": f"{platform.system()} {platform.machine()}",
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": _gpu_names(),
    }


def peak_memory() -> int:
    """The most bytes of the machine's memory that this process, or one that it waited for, has
    held."""
    whose = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    most = max(resource.getrusage(who).ru_maxrss for who in whose)
    return most if sys.platform == "darwin" else most * 1024  # kibibytes, but for macOS


def peak_gpu_memory() -> int | None:
    """The most bytes that tensors of this process have held on its GPU."""
    return int(sys.modules["torch"].cuda.max_memory_allocated()) if uses_gpu() else None


def uses_gpu() -> bool:
    """Whether this process has used a GPU, through torch."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


def driver() -> str | None:
    """The version of NVIDIA's driver."""
    nvml = _nvml()
    return str(nvml.nvmlSystemGetDriverVersion()) if nvml else None


class EnergyMeter:
    """The energy that the processors and the visible GPUs of this machine take from now on, whoever
    uses them.

    Processors are read from the kernel's powercap files, which many systems show to root alone.
    """

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._processors = [_Counter(zone) for zone in _packages(powercap)]
        self._gpus = _gpu_joules()
        self._ended = Event()
        self._reader = Thread(target=self._read_on, daemon=True)
        self._reader.start()

    def joules(self) -> float | None:
        """What was taken until now, which ends the measurement; null if nothing can be read."""
        self._ended.set()
        self._reader.join()
        taken = [counter.joules() for counter in self._processors]
        gpus = _gpu_joules()
        if gpus is not None and self._gpus is not None:
            taken.append(gpus - self._gpus)
        return sum(taken) if taken else None

    def _read_on(self) -> None:
        while self._processors and not self._ended.wait(SECONDS_BETWEEN_READINGS):
            for counter in self._processors:
                counter.joules()


class _Counter:
    """The counter of one processor, which begins anew at its largest value."""

    def __init__(self, zone: Path) -> None:
        self._file = zone / "energy_uj"
        self._range = int((zone / "max_energy_range_uj").read_text())
        self._last = int(self._file.read_text())
        self._sum = 0

    def joules(self) -> float:
        now = int(self._file.read_text())
        self._sum += (now - self._last) % (self._range + 1)
        self._last = now
        return self._sum * MICRO


def _packages(powercap: Path) -> list[Path]:
    """The zones of whole processors that may be read; those within them would count twice."""
    zones = sorted(powercap.glob("intel-rapl:*"))
    return [
        zone
        for zone in zones
        if os.access(zone / "energy_uj", os.R_OK)
        and (zone / "name").read_text().startswith("package")
    ]


def _gpu_joules() -> float | None:
    """The counters of the visible GPUs together, since their driver was loaded."""
    nvml = _nvml()
    if not nvml:
        return None
    try:
        every = ",".join(map(str, range(nvml.nvmlDeviceGetCount())))
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", every)
        handles = [_handle(nvml, name.strip()) for name in visible.split(",") if name.strip()]
        counters = [nvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles]
    except nvml.NVMLError:  # parts of a GPU, and GPUs from before 2017, have no such counter
        return None
    return sum(counters) * MILLI if counters else None


def _handle(nvml: Any, name: str) -> Any:
    if name.isdecimal():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name)


def _nvml() -> Any:
    """NVML, ready to be asked, if its package and a driver are there."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # whatever is wrong with a driver, a record is written
        return None
    return pynvml


def _gpu_names() -> list[str]:
    if not uses_gpu():
        return []
    cuda = sys.modules["torch"].cuda
    return [cuda.get_device_name(number) for number in range(cuda.device_count())]


def _processor() -> str:
    with suppress(OSError):
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()
