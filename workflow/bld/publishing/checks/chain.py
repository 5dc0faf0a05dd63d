"""Do the steps hang together: is every input of every step the output of another, or from outside?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from bld.files import MANIFEST
from bld.publishing.checks.records import Records
from bld.publishing.findings import Findings, count, some
from bld.publishing.manifests import Manifests
from bld.publishing.reading import Crate
from bld.publishing.terms import MADE

REPORT_STAGE = "report"


def check_chain(crate: Crate, records: Records, findings: Findings) -> None:
    """Every input was made by a step of the crate with the same digest, or comes from outside, which
    is said; every step leads to a report, and none to itself; nothing is there that no step made."""
    makers = {name: name for name in records}
    makers |= {path: name for name, record in records.items() for path in record.outputs}
    manifests = Manifests(lambda name: crate.json(name) if name in crate else {})
    problems = _made_twice(records)
    before: dict[str, set[str]] = {name: set() for name in records}
    outside: dict[str, set[str]] = defaultdict(set)
    for name, record in records.items():
        for path, digest in record.inputs.items():
            source = path if path in makers else manifests.naming(path)
            if path in record.outside or not path.startswith(MADE):
                outside[record.stage].add(path)
                if path in crate.files and crate.digest(path) != digest:
                    problems.append(f"{name}: read another {path} than the crate has")
            elif source in makers:
                before[name].add(makers[source])
                expected = (
                    _made(crate, records, makers, path)
                    if source == path
                    else manifests.named(source)[path].get("sha256")
                )
                if expected != digest:
                    problems.append(
                        f"{name}: read {path} with SHA-256 {digest}, but {makers[source]} made it with {expected}"
                    )
            else:
                problems.append(f"{name}: read {path}, which no step of the crate has made")
    problems += _structure_problems(records, before)
    problems += _origin_problems(crate, records, makers, manifests)
    links = sum(len(record.inputs) for record in records.values())
    findings.conclude(
        problems,
        f"the chain is unbroken: every one of {count(links, 'input')} of {count(len(records), 'step')} was made by another "
        "step with the same digest, or came from outside",
    )
    for stage, paths in sorted(outside.items()):
        findings.not_checked.append(
            f"{count(len(paths), 'file')} that {stage} read from outside ({some(paths)}): known by digest alone"
        )


def _made_twice(records: Records) -> list[str]:
    makers: dict[str, list[str]] = defaultdict(list)
    for name, record in records.items():
        for path in record.outputs:
            makers[path].append(name)
    return [f"{path}: made by {' and by '.join(by)}" for path, by in makers.items() if len(by) > 1]


def _made(crate: Crate, records: Records, makers: Mapping[str, str], path: str) -> str | None:
    """The digest with which a file was made; a record is not among its own outputs."""
    return crate.digest(path) if path in records else records[makers[path]].outputs[path].sha256


def _structure_problems(records: Records, before: dict[str, set[str]]) -> list[str]:
    """Steps that lead to no report, and steps in a circle."""
    reached = [name for name, record in records.items() if record.stage == REPORT_STAGE]
    if not reached:
        return ["no step of the crate made a report"]
    for name in reached:
        reached += before[name] - set(reached)
    problems = [
        f"{name}: no report follows from it" for name in sorted(records.keys() - set(reached))
    ]
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        problems.append(f"steps that wait for each other: {', '.join(error.args[1])}")
    return problems


def _origin_problems(
    crate: Crate, records: Records, makers: Mapping[str, str], manifests: Manifests
) -> Iterator[str]:
    """Files that manifests know otherwise, and files that nothing tells of."""
    known = makers.keys() | {path for record in records.values() for path in record.inputs}
    for manifest in (path for path in makers if path.endswith(f"/{MANIFEST}") and path in crate):
        for path, told in manifests.named(manifest).items():
            if (here := crate.digest(path)) != told.get("sha256"):
                yield (
                    f"{path}: {manifest} says that it has SHA-256 {told.get('sha256')}, the metadata say "
                    f"{here or 'nothing of it'}"
                )
        known |= manifests.named(manifest).keys()
    for path in sorted((crate.files.keys() | crate.described.keys()) - known):
        if path.startswith(MADE) or path in crate.described:
            yield f"{path}: no run record tells how it was made"
