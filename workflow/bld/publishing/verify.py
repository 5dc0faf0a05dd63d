"""Checks a crate that may come from anybody: whether it is whole, whether its records are a chain,
what the public validator says, and whether its report follows from its numbers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from bld.files import MANIFEST, RECORD
from bld.pipeline.code_digest import digest_of
from bld.pipeline.record import Record
from bld.pipeline.step import line_of, parse_step
from bld.publishing.chain import MADE, Manifests, chain, read_record
from bld.publishing.graph import METADATA
from bld.publishing.reading import Crate, open_crate
from bld.publishing.redraw import REPORT_STAGE, SkippedError, report_problems

PROFILE = "provenance-run-crate-0.5"
VALIDATOR = "rocrate-validator"
MAX_NAMES = 5
NEVER_CHECKED = (
    "who made the crate: it bears no signature; compare its SHA-256 with one that its makers "
    "published",
    "times, hardware, memory, GPU-hours and energy: the records' word is all there is",
    "that the steps give these results when they run again: that is what `reproduce` is for",
)


@dataclass
class Findings:
    """Sentences: what is wrong, what was checked and holds, and what was not checked."""

    problems: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)

    def conclude(self, problems: Collection[str], otherwise: str) -> None:
        """The end of one check: its problems, or what holds where there are none."""
        self.problems += problems
        if not problems:
            self.checked.append(otherwise)


def verify(path: Path) -> Findings:
    """What is wrong with a crate, what holds, and what was not checked. No code in it is run: the
    report is drawn by the code that verifies."""
    findings = Findings(not_checked=list(NEVER_CHECKED))
    try:
        with open_crate(path) as crate:
            _check_files(crate, findings)
            records = _read_records(crate, findings)
            if not findings.problems:
                findings.conclude(
                    list(_chain_problems(crate, records)),
                    "every input of every step was made by another step with the same digest, or "
                    "came from outside",
                )
            _check_profile(crate, findings)
            if not findings.problems:
                _check_reports(crate, records, findings)
    except ValueError as error:
        findings.problems += str(error).splitlines()
    return findings


def file_problems(crate: Crate) -> Iterator[str]:
    """Files that are missing, not described, or not as described."""
    for name in sorted(crate.files.keys() - {*crate.names}):
        yield f"{name}: described in the metadata, but not in the crate"
    for name in sorted({*crate.names} - crate.files.keys() - {METADATA}):
        yield f"{name}: in the crate, but not described in the metadata"
    for name in sorted({*crate.names} & crate.files.keys()):
        expected = crate.files[name].get("contentSize"), crate.files[name].get("sha256")
        try:
            found = str(crate.size(name)), crate.sha256(name)
        except ValueError as error:
            yield str(error)
            continue
        if found != expected:
            yield (
                f"{name}: the metadata says {expected[0]} bytes with SHA-256 {expected[1]}, found "
                f"{found[0]} with {found[1]}"
            )


def some(names: Collection[str]) -> str:
    """The first of many names."""
    more = len(names) - MAX_NAMES
    return ", ".join(sorted(names)[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _check_files(crate: Crate, findings: Findings) -> None:
    holds = f"all {len(crate.files):,} files are described and have their size and SHA-256"
    findings.conclude(list(file_problems(crate)), holds)
    if crate.described:
        findings.not_checked.append(
            f"{len(crate.described):,} files that the crate knows by digest alone, such as weights "
            f"and documents ({some(crate.described)}): compare `sha256sum` where you have them"
        )


def _read_records(crate: Crate, findings: Findings) -> dict[str, Record]:
    records: dict[str, Record] = {}
    problems: list[str] = []
    for name in (name for name in crate.names if name.endswith(RECORD)):
        try:
            records[name] = read_record(name, crate.json(name))
            problems += _record_problems(crate, name, records[name])
        except ValueError as error:
            problems.append(str(error))
    findings.conclude(
        problems, f"{len(records):,} records agree with themselves and with the files they describe"
    )
    return records


def _record_problems(crate: Crate, name: str, record: Record) -> Iterator[str]:
    """Where a record contradicts itself, or the digests of its outputs those of the crate."""
    step = record.step
    if record.ended < record.started:
        yield f"{name}: ended before it started"
    if digest_of(step.code.modules) != step.code.digest:
        yield f"{name}: its code digest does not follow from its modules: they were changed"
    identity = parse_step(line_of(step.code.digest, step.settings)).identity
    if identity != step.identity and not step.redacted:
        yield f"{name}: its identity does not follow from its settings and code: they were changed"
    for path, made in record.outputs.items():
        if (known := crate.digest(path)) != made.sha256:
            yield f"{path}: {name} made it with SHA-256 {made.sha256}, the crate has {known}"


def _chain_problems(crate: Crate, records: Mapping[str, Record]) -> Iterator[str]:
    """Broken links, steps that lead to no report, and files that no record describes."""
    reports = [name for name, record in records.items() if record.stage == REPORT_STAGE]
    if not reports:
        yield "no step of the crate made a report"
    manifests = Manifests(lambda name: crate.json(name) if name in crate.files else {})
    reached: set[str] = set()
    for report in reports:
        try:
            reached |= {action.path for action in chain(records, manifests, report)}
        except ValueError as error:
            yield str(error)
            return
    yield from (f"{x}: no report follows from it" for x in sorted(records.keys() - reached))
    known = {*records, *(x for one in records.values() for x in (*one.inputs, *one.outputs))}
    for manifest in [name for name in known & crate.files.keys() if name.endswith(f"/{MANIFEST}")]:
        for path, about in manifests.files(manifest).items():
            known.add(path)
            if (here := crate.digest(path)) != about.get("sha256"):
                yield f"{path}: {manifest} gives it SHA-256 {about.get('sha256')}, the crate {here}"
    for path in sorted((crate.files.keys() | crate.described.keys()) - known):
        if path.startswith(MADE) or path in crate.described:
            yield f"{path}: no record tells how it was made"


def _check_profile(crate: Crate, findings: Findings) -> None:
    """Ask the public validator, if it is installed beside this Python or on the path."""
    own = Path(sys.prefix) / "crates/bin" / VALIDATOR
    program = str(own) if own.exists() else shutil.which(VALIDATOR)
    what = f"that its metadata follow the profile {PROFILE}"
    if not program:
        findings.not_checked.append(
            f"{what}: the public validator was not found (`make .venv/crates.done`)"
        )
        return
    with TemporaryDirectory() as folder:
        unpacked, report = Path(folder, "crate"), Path(folder, "report.json")
        unpacked.mkdir()
        crate.extract(crate.names, unpacked)
        how = f"--no-paging -p {PROFILE} -f json -o".split()
        command = [program, "validate", *how, str(report), str(unpacked)]
        done = subprocess.run(command, capture_output=True)
        if done.returncode not in (0, 1) or not report.exists():
            findings.not_checked.append(f"{what}: the public validator failed; it needs the web")
            return
        issues = json.loads(report.read_bytes())["issues"]
    findings.conclude(
        [f"public validator, {x['check']['identifier']}: {x['message']}" for x in issues],
        f"the public validator finds {what}",
    )


def _check_reports(crate: Crate, records: Mapping[str, Record], findings: Findings) -> None:
    for name, record in records.items():
        if record.stage == REPORT_STAGE:
            folder = str(Path(name).parent)
            try:
                findings.conclude(
                    list(report_problems(crate, folder, record)),
                    f"{folder}: drawn again, its tables and its summary have the same numbers",
                )
                findings.not_checked.append(f"page and drawings of {folder}, beside their tables")
            except SkippedError as reason:
                findings.not_checked.append(f"that {folder} follows from the results: {reason}")
