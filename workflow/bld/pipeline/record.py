"""The record of a step, beside its first output: what was run on what, where, and what it took.

    NAME.record.json          appears by rename when the step has ended well
    NAME.record.attempts      until then: what became of every attempt, see `attempts`

Files stand under their paths from the working folder with their SHA-256; of a folder its manifest
stands for the whole, since that holds the digest of every file in it. So the records of a workflow
are a chain: equal digests link what one step made to what another read.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from bld.files import MANIFEST, sha256_of, write_json
from bld.pipeline.attempts import Attempts, Event, now
from bld.pipeline.code_digest import code_modules, digest_of, loaded_modules
from bld.pipeline.environment import (
    EnergyMeter,
    driver,
    environment,
    hardware,
    peak_gpu_memory,
    peak_memory,
    project_version,
    uses_gpu,
)
from bld.privacy import anonymised, portable_path

if TYPE_CHECKING:
    from bld.pipeline.step import StepLine

FORMAT = 1
SECONDS_PER_HOUR = 3600


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Made(_Part):
    """A file that a step made."""

    bytes: int
    sha256: str


class Code(_Part):
    """The code that a step ran: a digest of all, and of every module."""

    digest: str
    modules: dict[str, str]


class StepRead(_Part):
    """What a step read besides its inputs; `redacted` if a path was taken out of the settings."""

    identity: str
    settings: dict[str, Any]
    redacted: bool = False
    code: Code


class Source(_Part):
    """Where the files of a manifest came from, and under which licence."""

    source: Any
    licence: Any


class Version(_Part):
    """The commit of the code and a digest of what differs from it; null where git does not know."""

    commit: str | None
    uncommitted: str | None


class Environment(_Part):
    """What a step ran in: Python and the packages that it imported, torch and the driver of
    GPUs."""

    python: str
    implementation: str | None = None
    platform: str | None = None
    packages: dict[str, str]
    conda: str | None = None
    torch: str | None = None
    cuda: str | None = None
    driver: str | None = None


class Hardware(_Part):
    """The class of the machine."""

    host: str
    cpu: str
    cores: int | None
    memory_bytes: int
    gpus: list[str]


class Attempt(_Part):
    """A job that was sent, by the scheduler's id."""

    job: str | None
    started: AwareDatetime


class Record(_Part):
    """What a step did. `inputs`: their SHA-256 by path; `outside`: those of them that settings name
    and no step made. `seconds`, `gpu_hours`, memory in bytes and energy are of the attempt that
    ended well."""

    format: int = FORMAT
    stage: str = Field(pattern=r"^[a-z_]+$")
    rule: str | None = None
    log: str | None = None
    benchmark: str | None = None
    step: StepRead
    command: list[str] = []
    inputs: dict[str, str]
    outside: list[str] = []
    outputs: dict[str, Made]
    sources: dict[str, Source] = {}
    version: Version
    environment: Environment
    seed: int | None = None
    world_size: int = 1
    hardware: Hardware | None = None
    scheduler: str | None = None
    attempts: list[Attempt] = []
    started: AwareDatetime
    ended: AwareDatetime
    seconds: float = 0.0
    gpu_hours: float = 0.0
    peak_memory_bytes: int | None = None
    peak_gpu_memory_bytes: int | None = None
    energy_joules: float | None = None


class Recorder:
    """The record of this process's step, begun now.

    `path` is where it is to be, None for nowhere; `inputs` and `outputs` are those that the step
    declares, folders by their manifests, None for an input that this step does without. Of several
    processes the first alone writes.
    """

    def __init__(
        self,
        path: Path | None,
        stage: str,
        step: StepLine,
        log: Path | None,
        inputs: Sequence[Path | None],
        outputs: Sequence[Path],
    ) -> None:
        self.inputs = list(inputs)
        self.outputs = [*outputs, *([path] if path else [])]
        self._path = path if os.environ.get("RANK", "0") == "0" else None
        if not self._path:
            return
        self._clock = time.monotonic()
        self._finished: Record | None = None
        self._step, self._log = step, log
        self._module = f"bld.stages.{stage}"
        self._made = list(outputs)
        self._attempts, self._has_saved = Attempts(self._path, step.identity), False
        before = [line for line in self._attempts.lines() if line.event == Event.BEGAN]
        self._began = [*before, self._attempts.write(Event.BEGAN, job=_job())]
        self._modules = code_modules(self._module, loaded=loaded_modules(step.settings))
        self._version = Version(**project_version())
        if digest_of(self._modules) != step.code:
            raise SystemExit(
                f"The code of `{stage}` was edited after this job was planned, so its outputs "
                "would pass for those of other code: run Snakemake again."
            )
        self._read: dict[str, str] = {}
        self._outside: list[str] = []
        self._sources: dict[str, Source] = {}
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
        """Files that the step makes, whether it declares them or not."""
        if self._path:
            self._made += paths

    def saved(self) -> None:
        """This attempt has saved something that the next can start from."""
        if self._path and not self._has_saved:
            self._has_saved = True
            self._attempts.write(Event.SAVED, job=_job())

    def stopped(self) -> None:
        """This attempt has saved and ends here, to go on in the next."""
        if self._path:
            self._attempts.write(Event.STOPPED, job=_job())

    def finish(self) -> None:
        """What it is a record of has ended well, though the job goes on to something else."""
        if self._path:
            self._finished = self._content()

    def write(self) -> None:
        """Write the record of a step that has ended well; once."""
        if self._path:
            content = self._finished or self._content()
            write_json(self._path, content.model_dump(mode="json"))
            self.was_put_back()

    def was_put_back(self) -> None:
        """There is a record already, of the attempt that made the outputs."""
        if self._path:
            self._attempts.path.unlink(missing_ok=True)
            self._path = None

    def _content(self) -> Record:
        ended, seconds = now(), time.monotonic() - self._clock
        world_size = int(os.environ.get("WORLD_SIZE", "1"))
        gpus = world_size if uses_gpu() else 0
        settings = anonymised(self._step.settings)
        return Record(
            **self._names(),
            step=StepRead(
                identity=self._step.identity,
                settings=settings,
                redacted=settings != self._step.settings,
                code=Code(digest=self._step.code, modules=self._modules),
            ),
            command=["python", "-m", self._module, *_arguments()],
            inputs=self._read,
            outside=sorted(self._outside),
            outputs={
                portable_path(path): Made(bytes=path.stat().st_size, sha256=sha256_of(path))
                for path in self._made
            },
            sources=self._sources,
            version=self._version,
            environment=Environment(**environment(), driver=driver()),
            seed=only_seed(self._step.settings),
            world_size=world_size,
            hardware=Hardware(**hardware()),
            scheduler="slurm" if _job() else None,
            attempts=[Attempt(job=line.job, started=line.time) for line in self._began],
            started=self._began[-1].time,
            ended=ended,
            seconds=round(seconds, 3),
            gpu_hours=seconds * gpus / SECONDS_PER_HOUR,
            peak_memory_bytes=peak_memory(),
            peak_gpu_memory_bytes=peak_gpu_memory(),
            energy_joules=self._energy.joules(),
        )

    def _names(self) -> dict[str, Any]:
        """Of the stage, and of the rule and its files, which are called like its log."""
        names = {"stage": self._module.rpartition(".")[2]}
        if self._log is None:
            return names
        log = Path(portable_path(self._log))
        return names | {
            "rule": log.parts[1].removesuffix(".log"),
            "log": str(log),
            "benchmark": str(log.with_suffix(".benchmark.jsonl")),
        }


def unchanged(paths: Iterable[str], record: str) -> set[str]:
    """Those of the files which hold what they held when the step with this record read them: they
    are older than the record, or have the digest in it.

    If that is true of all, the record gets the date of the newest, so that a large file is read
    once for a new date of it.
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


def _source(path: Path) -> Source | None:
    """What a manifest says of where its files came from, if it does."""
    if path.name != MANIFEST:
        return None
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if not manifest.keys() & {"source", "licence"}:
        return None
    about = {key: anonymised(manifest.get(key)) for key in ("source", "licence")}
    return Source.model_validate(about)


def _arguments() -> list[str]:
    """The command's arguments without the step line, which stands in the record by its parts."""
    arguments = sys.argv[1:]
    place = arguments.index("--step")
    return [str(anonymised(x)) for x in [*arguments[:place], *arguments[place + 2 :]]]


def _job() -> str | None:
    """The id of the scheduler's job."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")
