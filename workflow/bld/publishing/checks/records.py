"""The run records of a crate: read, and held against the files that they tell of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from bld.files import RECORD
from bld.pipeline.code_digest import digest_of
from bld.pipeline.step import line_of, parse_step
from bld.publishing.findings import Findings, count, some
from bld.publishing.reading import Crate


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Made(_Part):
    """A file that a step made."""

    bytes: int
    sha256: str


class Code(_Part):
    """The code that a step ran: a digest of all, and of every module."""

    digest: str
    modules: dict[str, str]


class StepOf(_Part):
    """What a step read besides its inputs; `redacted` if a path was taken out of the settings."""

    identity: str
    settings: dict[str, Any]
    redacted: bool = False
    code: Code


class Version(_Part):
    """Where the code came from."""

    commit: str | None
    uncommitted: str | None


class Environment(_Part):
    """What it ran in."""

    python: str
    packages: dict[str, str]


class Record(_Part):
    """What is checked of a run record; bld.pipeline.record writes them. `outside` are inputs that settings name
    and no step made."""

    stage: str = Field(pattern=r"^[a-z_]+$")
    step: StepOf
    inputs: dict[str, str]
    outside: list[str] = []
    outputs: dict[str, Made]
    version: Version
    environment: Environment
    started: AwareDatetime
    ended: AwareDatetime


Records = Mapping[str, Record]
"""By the path of the record."""


def read_records(crate: Crate, findings: Findings) -> Records:
    """Every record of the crate that can be read; what is wrong with the others is a problem."""
    records: dict[str, Record] = {}
    problems = []
    for name in (name for name in crate.names if name.endswith(RECORD)):
        try:
            records[name] = Record.model_validate(crate.json(name))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            problems.append(f"{name}: not a run record: {where}: {first['msg']}")
        except ValueError as error:
            problems.append(str(error))
    if not records:
        problems.append("the crate holds no run record, so nothing says how its results were made")
    findings.conclude(problems, f"{count(len(records), 'run record')} can be read")
    return records


def check_records(crate: Crate, records: Records, findings: Findings) -> None:
    """What records say of themselves is consistent, and their outputs are the files of the crate."""
    problems, redacted = [], []
    for name, record in records.items():
        if record.ended < record.started:
            problems.append(
                f"{name}: ended ({record.ended.isoformat()}) before it started ({record.started.isoformat()})"
            )
        if is_redacted := crate.is_redacted(name) or record.step.redacted:
            redacted.append(name)
        problems += _step_problems(name, record.step, is_redacted)
        for path, made in record.outputs.items():
            if known := crate.digest(path):
                if known != made.sha256:
                    problems.append(
                        f"{path}: {name} says that it was made with SHA-256 {made.sha256}, the crate's has {known}"
                    )
            else:
                problems.append(
                    f"{path}: made according to {name}, but neither in the crate nor described in it"
                )
    outputs = sum(len(record.outputs) for record in records.values())
    findings.conclude(
        problems,
        f"{count(outputs, 'output')} of the steps have the digests in the run records, and the records' identities and code "
        "digests follow from their settings and modules",
    )
    if redacted:
        findings.not_checked.append(
            f"the identities of {count(len(redacted), 'step')} whose records were redacted ({some(redacted)})"
        )


def _step_problems(name: str, step: StepOf, is_redacted: bool) -> list[str]:
    """A step's line is its settings and the digest of its code, its identity the digest of the line."""
    code = digest_of(step.code.modules)
    identity = parse_step(line_of(step.code.digest, step.settings)).identity
    problems = []
    if code != step.code.digest:
        problems.append(
            f"{name}: its code digest is {step.code.digest}, its modules give {code}: they were changed"
        )
    if identity != step.identity and not is_redacted:
        problems.append(
            f"{name}: its identity is {step.identity}, its settings and code give {identity}: they were changed"
        )
    return problems
