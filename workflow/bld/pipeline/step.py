"""A step's identity: the settings that it reads and the digest of the code that it runs, as one
line of sorted JSON; and how every stage reads it, with the files of its rule.

Snakemake compares this line between invocations, and it is the step's own `--step` argument: what a
step can read is what it is rerun for.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from bld.folders import whole_folder
from bld.pipeline.code_digest import code_digest, loaded_modules
from bld.pipeline.record import Recorder
from bld.pipeline.step_settings import StepSettings

RECORD = "record"


class StepLine(NamedTuple):
    """`settings`: what the step reads; `identity`: digest of the whole line; `code`: that of the
    code."""

    settings: dict[str, Any]
    identity: str
    code: str


def step_line(module: str, settings: Mapping[str, Any]) -> str:
    """The identity of the step that runs `module` with these settings."""
    return line_of(code_digest(module, loaded=loaded_modules(settings)), settings)


def line_of(code: str, settings: Mapping[str, Any]) -> str:
    """The identity of the step that runs the code of this digest with these settings."""
    step = {"code": code, "settings": settings}
    return json.dumps(step, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def parse_step(line: str) -> StepLine:
    """Read a step line back."""
    step = json.loads(line)
    return StepLine(step["settings"], hashlib.sha256(line.encode()).hexdigest(), step["code"])


def files_line(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> str:
    """The named files of a job as one line: each by its name a path, several, or none."""
    files = {"inputs": _plain(inputs), "outputs": _plain(outputs)}
    return json.dumps(files, separators=(",", ":"), ensure_ascii=False)


def _plain(files: Mapping[str, Any]) -> dict[str, str | list[str]]:
    return {
        name: str(paths) if isinstance(paths, str | Path) else [str(path) for path in paths]
        for name, paths in files.items()
    }


class Files(BaseModel):
    """The inputs or the outputs of a stage, by the names that its rule gives them."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _single(paths: Any) -> Any:
    """The path of a list of one, and nothing of an empty one."""
    if not isinstance(paths, list):
        return paths
    return (paths or [None])[0] if len(paths) < 2 else paths


File = Annotated[Path, BeforeValidator(_single)]
"""A file, or the manifest of a folder that is not checked."""
Folder = Annotated[Path, BeforeValidator(_single), AfterValidator(whole_folder)]
"""The folder of a manifest, found whole."""
Listed = Annotated[list[Path], BeforeValidator(lambda x: x if isinstance(x, list) else [x])]
"""One file or several."""
OptionalFile = Annotated[Path | None, BeforeValidator(_single)]
OptionalFolder = Annotated[
    Annotated[Path, AfterValidator(whole_folder)] | None, BeforeValidator(_single)
]

S = TypeVar("S", bound=StepSettings)
I = TypeVar("I", bound=Files)  # noqa: E741
O = TypeVar("O", bound=Files)  # noqa: E741


@dataclass(frozen=True)
class Step(Generic[S, I, O]):
    """What a stage is given: settings, inputs and outputs as it declares them; the digests of its
    line and of its code; the record of what it does; and, of a stage that may be interrupted, the
    folder of its checkpoints and the minutes of its job and between checkpoints. Where each output
    has a record of its own, `record` is that of the first, and `record_of` begins that of another,
    by its number."""

    settings: S
    inputs: I
    outputs: O
    identity: str
    code: str
    record: Recorder
    record_of: Callable[[int], Recorder]
    checkpoints: Path
    runtime: float
    checkpoint_minutes: float
    options: argparse.Namespace


@contextmanager
def stage(
    settings: type[S],
    inputs: type[I],
    outputs: type[O],
    add_options: Callable[[argparse.ArgumentParser], None] | None = None,
) -> Iterator[Step[S, I, O]]:
    """The step of this process, from its arguments; if the block ends without an error, its record
    is written. Arguments that no result depends on may be added as `options`.

    Exits with every problem of its settings and files: an input that is missing, a folder that is
    not whole.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--step", type=parse_step, required=True, help="settings and code digest")
    parser.add_argument("--files", type=json.loads, required=True, help="inputs and outputs")
    parser.add_argument("--log", type=Path, help="where what this prints is kept")
    parser.add_argument("--checkpoints", type=Path, help="what an interrupted job left")
    parser.add_argument("--runtime", type=float, default=0, help="minutes; 0 for no limit")
    parser.add_argument("--checkpoint-minutes", type=float, default=10, help="0: after every step")
    if add_options:
        add_options(parser)
    arguments = parser.parse_args()
    line, files = arguments.step, arguments.files
    records = files["outputs"].pop(RECORD, None)
    records = records if isinstance(records, list) else [records]
    try:
        parts = (
            settings.model_validate(line.settings),
            inputs.model_validate(files["inputs"]),
            outputs.model_validate(files["outputs"]),
        )
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in error.errors())
        raise SystemExit("\n".join(problems)) from None
    made = [path for path in _paths(outputs, files["outputs"]) if path]

    def record_of(number: int) -> Recorder:
        record = records[number]
        return Recorder(
            record and Path(record),
            Path(sys.argv[0]).stem,
            line,
            arguments.log,
            _paths(inputs, files["inputs"]),
            made if len(records) == 1 else [made[number]],
        )

    recorder = record_of(0)
    limits = arguments.runtime, arguments.checkpoint_minutes
    recorders = recorder, record_of
    yield Step(
        *parts, line.identity, line.code, *recorders, arguments.checkpoints, *limits, arguments
    )
    recorder.write()


def _paths(declared: type[Files], files: Mapping[str, Any]) -> list[Path | None]:
    """All files in the order of their declaration, None for one that is not there."""
    paths: list[Path | None] = []
    for name in declared.model_fields:
        given = files.get(name) or [None]
        paths += [x and Path(x) for x in (given if isinstance(given, list) else [given])]
    return paths
