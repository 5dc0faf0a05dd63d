"""Do the metadata tell the same as the run records?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bld.publishing.checks.records import Record, Records
from bld.publishing.findings import Findings, count
from bld.publishing.reading import Crate, is_a, path_of, references
from bld.publishing.terms import COMPLETED, tool_of

ACTION = "#action/"


def check_actions(crate: Crate, records: Records, findings: Findings) -> None:
    """Every record has its action with the same inputs, outputs, tool and times; there is no other but
    that of the workflow as a whole."""
    found = {name: one for name, one in crate.entities.items() if is_a(one, "CreateAction")}
    workflow = references(crate.entities["./"], "mainEntity")
    expected = {ACTION + name: name for name in records}
    by_path = {ACTION + path_of(name.removeprefix(ACTION)): one for name, one in found.items()}
    problems = [
        f"{name}: the metadata have no action for this record"
        for action, name in expected.items()
        if action not in by_path
    ]
    for action, entity in by_path.items():
        if action in expected:
            name = expected[action]
            problems += [f"{name}: {text}" for text in _differences(entity, records[name])]
        elif references(entity, "instrument") != workflow:
            problems.append(f"{entity['@id']}: an action in the metadata without a run record")
    findings.conclude(
        problems,
        f"{count(len(expected), 'action')} in the metadata tell the same as the run records: inputs, outputs, tools, times",
    )


def _differences(entity: dict[str, Any], record: Record) -> list[str]:
    """Where an action and its record disagree."""
    told: dict[str, tuple[object, object]] = {
        "inputs": (_paths(entity, "object"), set(record.inputs)),
        "outputs": (_paths(entity, "result"), set(record.outputs)),
        "tool": (references(entity, "instrument"), [tool_of(record.stage)]),
        "start": (_time(entity.get("startTime")), record.started),
        "end": (_time(entity.get("endTime")), record.ended),
        "status": (references(entity, "actionStatus") or [entity.get("actionStatus")], [COMPLETED]),
    }
    return [
        f"its action in the metadata has another {what} than the record: {_difference(here, there)}"
        for what, (here, there) in told.items()
        if here != there
    ]


def _difference(here: object, there: object) -> str:
    if isinstance(here, set) and isinstance(there, set):
        more = [
            f"{sign} {name}"
            for sign, names in (("+", here - there), ("-", there - here))
            for name in sorted(names)
        ]
        return ", ".join(more[:5])
    return f"{_shown(here)}, not {_shown(there)}"


def _shown(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _paths(entity: dict[str, Any], key: str) -> set[str]:
    return {path_of(one) for one in references(entity, key)}


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
