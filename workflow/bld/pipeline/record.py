"""The record of a step, beside its first output: what was run on what, where, and what it took.

    NAME.record.json          appears by rename when the step has ended well
    NAME.record.attempts      until then: a line for every attempt, by whatever became of it

Files stand under their paths from the working folder with their SHA-256; of a folder its manifest
stands for the whole, since that holds the digest of every file in it. So the records of a workflow are
a chain: equal digests link what one step made to what another read.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bld.files import MANIFEST, sha256_of, write_json
from bld.pipeline.code_digest import code_modules, digest_of, loaded_modules
from bld.pipeline.environment import environment, project_version
from bld.pipeline.hardware import (
    EnergyMeter,
    driver,
    hardware,
    peak_gpu_memory,
    peak_memory,
    uses_gpu,
)
from bld.privacy import anonymised, portable_path

if TYPE_CHECKING:
    from bld.pipeline.step import Step

FORMAT = 1
SECONDS_PER_HOUR = 3600


class Record:
    """The record of this process's step, begun now.

    `path` is where it is to be, None for nowhere; `inputs` and `outputs` are those that the step
    declares, folders by their manifests, None for an input that this step does without. Of several
    processes the first alone writes.
    """

    def __init__(
        self,
        path: Path | None,
        stage: str,
        step: Step,
        log: Path | None,
        inputs: Sequence[Path | None],
        outputs: Sequence[Path],
    ) -> None:
        self.inputs = list(inputs)
        self.outputs = [*outputs, *([path] if path else [])]
        self._path = path if os.environ.get("RANK", "0") == "0" else None
        if not self._path:
            return
        self._began, self._clock = datetime.now(UTC), time.monotonic()
        self._step, self._log = step, log
        self._module = f"bld.stages.{stage}"
        self._made = list(outputs)
        self._attempts = self._count_attempt()
        self._modules = code_modules(self._module, loaded=loaded_modules(step.settings))
        self._version = project_version()
        if digest_of(self._modules) != step.code:
            raise SystemExit(
                f"The code of `{stage}` was edited after this job was planned, so its outputs would pass for those of "
                "other code: run Snakemake again."
            )
        self._read: dict[str, str] = {}
        self._outside: list[str] = []
        self._sources: dict[str, Any] = {}
        self.reads(path for path in inputs if path)
        self._energy = EnergyMeter()

    def reads(self, paths: Iterable[Path], outside: bool = False) -> None:
        """Files that the step reads and does not declare; from `outside` if no step made them."""
        if self._path:
            self.knows({path: sha256_of(path) for path in paths}, outside)

    def knows(self, digests: Mapping[Path, str], outside: bool = False) -> None:
        """Files that the step reads and whose SHA-256 is known already."""
        if self._path:
            self._outside += [portable_path(path) for path in digests if outside]
            for path, digest in digests.items():
                self._read[portable_path(path)] = digest
                if about := _source(path):
                    self._sources[portable_path(path)] = about

    def writes(self, paths: Iterable[Path]) -> None:
        """Files that the step makes and does not declare."""
        if self._path:
            self._made += paths

    def write(self) -> None:
        """Write the record of a step that has ended well; once."""
        if self._path:
            write_json(self._path, self._content())
            self.was_put_back()

    def was_put_back(self) -> None:
        """There is a record already, of the attempt that made the outputs."""
        if self._path:
            _attempts_of(self._path).unlink(missing_ok=True)
            self._path = None

    def _content(self) -> dict[str, Any]:
        ended, seconds = datetime.now(UTC), time.monotonic() - self._clock
        world_size = int(os.environ.get("WORLD_SIZE", "1"))
        gpus = world_size if uses_gpu() else 0
        settings = anonymised(self._step.settings)
        return {
            "format": FORMAT,
            **self._names(),
            "step": {
                "identity": self._step.identity,
                "settings": settings,
                "redacted": settings != self._step.settings,
                "code": {"digest": self._step.code, "modules": self._modules},
            },
            "command": ["python", "-m", self._module, *_arguments()],
            "inputs": self._read,
            "outside": sorted(self._outside),
            "outputs": {
                portable_path(path): {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
                for path in self._made
            },
            "sources": self._sources,
            "version": self._version,
            "environment": environment() | {"driver": driver()},
            "seed": only_seed(self._step.settings),
            "world_size": world_size,
            "hardware": hardware(),
            "scheduler": "slurm" if _job() else None,
            "attempts": self._attempts,
            "started": _written(self._began),
            "ended": _written(ended),
            "seconds": round(seconds, 3),
            # Of the attempt that ended well; what those before it took is not known.
            "gpu_hours": seconds * gpus / SECONDS_PER_HOUR,
            "peak_memory_bytes": peak_memory(),
            "peak_gpu_memory_bytes": peak_gpu_memory(),
            "energy_joules": self._energy.joules(),
        }

    def _names(self) -> dict[str, str | None]:
        """Of the stage, and of the rule and its files, which are called like its log."""
        names: dict[str, str | None] = {"stage": self._module.rpartition(".")[2]}
        if self._log is None:
            return names | {"rule": None, "log": None, "benchmark": None}
        log = Path(portable_path(self._log))
        return names | {
            "rule": log.parts[1].removesuffix(".log"),
            "log": str(log),
            "benchmark": str(log.with_suffix(".benchmark.jsonl")),
        }

    def _count_attempt(self) -> list[dict[str, str | None]]:
        """All attempts of this step, the one that begins here being the last."""
        assert self._path
        path = _attempts_of(self._path)
        this = {"job": _job(), "started": _written(self._began)}
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"identity": self._step.identity, **this}) + "\n")
        return [*_attempts(before, self._step.identity), this]


def unchanged(paths: Iterable[str], record: str) -> set[str]:
    """Those of the files which hold what they held when the step with this record read them: they are older than
    the record, or have the digest in it.

    If that is true of all, the record gets the date of the newest, so that a large file is read once
    for a new date of it.
    """
    try:
        read_at = os.stat(record).st_mtime_ns
        inputs = json.loads(Path(record).read_text(encoding="utf-8"))["inputs"]
        dates = {path: os.stat(path).st_mtime_ns for path in paths}
    except (OSError, ValueError, KeyError):
        return set()
    newer = [path for path, date in dates.items() if date > read_at]
    others = {path for path in newer if inputs.get(portable_path(Path(path))) != sha256_of(path)}
    if newer and not others:
        # In a colleague's folder the date stays as it is, and the files are read again.
        with suppress(OSError):
            os.utime(record, ns=(max(dates.values()),) * 2)
    return dates.keys() - others


def only_seed(settings: Any) -> int | None:
    """The setting `seed`, wherever it stands; null without one, and where there are several."""
    seeds = set(_seeds(settings))
    return seeds.pop() if len(seeds) == 1 else None


def _seeds(settings: Any) -> Iterable[int]:
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            yield from [value] if key == "seed" and value is not None else _seeds(value)


def _attempts_of(record: Path) -> Path:
    return record.with_suffix(".attempts")


def _attempts(lines: Sequence[str], identity: str) -> list[dict[str, str | None]]:
    """Those of a step; a line of which a full disk has left a part tells nothing."""
    found = []
    for line in lines:
        with suppress(ValueError):
            attempt = json.loads(line)
            if attempt.pop("identity") == identity:
                found.append(attempt)
    return found


def _source(path: Path) -> dict[str, Any] | None:
    """Where the files of a manifest came from and under which licence, if it says so."""
    if path.name != MANIFEST:
        return None
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if not manifest.keys() & {"source", "licence"}:
        return None
    return {key: anonymised(manifest.get(key)) for key in ("source", "licence")}


def _arguments() -> list[str]:
    """The command's arguments without the step line, which stands in the record by its parts."""
    given = sys.argv[1:]
    place = given.index("--step")
    return anonymised([*given[:place], *given[place + 2 :]])


def _job() -> str | None:
    """The id of the scheduler's job."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
