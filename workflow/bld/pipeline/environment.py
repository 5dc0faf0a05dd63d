"""What a record says of where a step ran: the project's version, Python and the packages that were
imported; the machine, and what the step took of it: memory, GPUs, energy.

Nothing is imported for its sake: GPUs are asked about through torch if the step has used one, their
driver and energy through NVML if its package (nvidia-ml-py) is installed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import resource
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import packages_distributions, version
from pathlib import Path
from threading import Event, Thread
from typing import Any

PROJECT = Path(__file__).resolve().parents[3]
CODE = ("Snakefile", "workflow", "envs", "config", "profiles")
GIT_SECONDS = 20
LARGE_BYTES = 1 << 20
POWERCAP = Path("/sys/class/powercap")
# A counter of a processor's energy begins anew after some minutes under load.
SECONDS_BETWEEN_READINGS = 30
MICRO, MILLI = 1e-6, 1e-3


def environment() -> dict[str, Any]:
    """Python and what this process has imported so far, by distribution; the digest of the conda
    environment stands for what its pin file holds."""
    torch = sys.modules.get("torch")
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": f"{platform.system()}-{platform.release()}-{platform.machine()}",
        "packages": imported_packages(),
        "conda": conda_digest(),
        "torch": torch and str(torch.__version__),
        "cuda": torch and torch.version.cuda,
    }


def imported_packages() -> dict[str, str]:
    """The version of every installed distribution of which a module is imported."""
    imported = {name.partition(".")[0] for name in list(sys.modules)}
    owners = packages_distributions()
    names = {owner for module in imported for owner in owners.get(module, [])}
    return {name: version(name) for name in sorted(names)}


def conda_digest() -> str | None:
    """SHA-256 over the names of the packages of the conda environment, which hold version and
    build."""
    prefix = os.environ.get("CONDA_PREFIX")
    names = sorted(path.name for path in Path(prefix).glob("conda-meta/*.json")) if prefix else []
    return hashlib.sha256("\n".join(names).encode()).hexdigest() if names else None


def project_version(project: Path = PROJECT) -> dict[str, str | None]:
    """The commit of the project and a digest of what differs from it; null where git does not
    know."""
    commit = _git(project, "rev-parse", "HEAD")
    # A folder that lies in somebody else's repository has no commit of its own.
    if commit is None or _git(project, "cat-file", "-e", "HEAD:./Snakefile") is None:
        return {"commit": None, "uncommitted": None}
    return {"commit": commit.decode().strip(), "uncommitted": _uncommitted(project)}


def _uncommitted(project: Path) -> str | None:
    """SHA-256 over the changes of the code and over the names and digests of code that was never
    committed; of large files the size stands for the digest."""
    changes = _git(project, "diff", "HEAD", "--binary", "--no-ext-diff", "--relative", "--", *CODE)
    names = _git(project, "ls-files", "--others", "--exclude-standard", "-z", "--", *CODE)
    if not (changes or names):
        return None
    digest = hashlib.sha256(changes or b"")
    for name in sorted((names or b"").split(b"\0")[:-1]):
        digest.update(name + b"\0" + _content(project / os.fsdecode(name)) + b"\0")
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGE_BYTES:
            return str(path.stat().st_size).encode()
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:  # gone since, or a link to nothing
        return b""


def _git(project: Path, *command: str) -> bytes | None:
    """What git prints; null if it fails, is not there or takes too long. It takes no lock, since
    other jobs ask at the same time."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(project), *command],
            capture_output=True,
            timeout=GIT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


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
