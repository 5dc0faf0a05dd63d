"""Why a job runs, in words: which setting, file, line of code or package is another than when its
outputs were made, from what to what.

Snakemake knows that something differs and keeps what was; run records know the modules and the inputs
one by one. Nothing here decides what runs.
"""

from __future__ import annotations

import ast
import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bld.files import sha256_of
from bld.pipeline.code_digest import code_modules, loaded_modules
from bld.privacy import portable_path

SHOWN = 48
DIGITS = 8
MOST = 4
NOTHING = object()


def own_causes(job: Any, reason: Any, kept: Any) -> list[str]:
    """Why a Snakemake job itself runs, given Snakemake's reason and what it has kept of the job's outputs
    (its persistence); nothing, if it only follows from others."""
    if not job.output:
        return [] if job.rule.norun else ["it makes no file, so it runs whenever it is asked for"]
    said = ["asked for by force, or broken off before"] if reason.forced else []
    there = [path for path in job.output if Path(path).exists()]
    if missing := sorted(set(reason.missing_output) - set(there)):
        said.append(f"not there: {_listed(missing)}" if there else "not made yet")
    record = _record(job)
    if there and kept.has_metadata(job):
        said += _kept_differences(job, kept, record)
    for path in sorted(set(reason.updated_input) - set(reason.updated_input_run)):
        digests = record.get("inputs", {}).get(portable_path(Path(path))), _digest_now(path)
        said.append(f"{path}: {_from_to(*map(_short, digests))}")
    return said


def follows_from(reason: Any) -> list[str]:
    """The inputs of a job that are made again before it."""
    return sorted(reason.updated_input_run)


def in_words(own: list[str], follows: list[str]) -> str:
    """All of it as one line."""
    return "; ".join([*own, *([f"made again before it: {_listed(follows)}"] if follows else [])])


def _kept_differences(job: Any, kept: Any, record: Mapping[str, Any]) -> Iterator[str]:
    """What differs from what Snakemake has kept with the job's first output."""
    output = job.output[0]
    if kept.params_changed(job):
        (before,), (after,) = kept.params(output), job.non_derived_params
        yield from step_differences(ast.literal_eval(before), after, record)
    if any(kept.input_changed(job)):
        before, after = set(kept.input(output)), {str(path) for path in job.input}
        yield from (f"no longer read: {path}" for path in sorted(before - after))
        yield from (f"newly read: {path}" for path in sorted(after - before))
    if any(kept.code_changed(job)):
        yield from _line_differences(
            "command", _flags(kept.code(output) or ""), _flags(job.rule.shellcmd or "")
        )
    if any(kept.software_stack_changed(job)):
        before = base64.b64decode(kept.conda_env(output) or "").decode()
        after = job.conda_env.content.decode() if job.conda_env else ""
        same = ["environment: its pins, its place or whether conda is used"]
        yield from (
            list(_line_differences("environment", before.splitlines(), after.splitlines())) or same
        )


def step_differences(before: str, after: str, record: Mapping[str, Any]) -> Iterator[str]:
    """What differs between two step lines; `record`, if there is one, knows the code of the first by
    module."""
    old, new = json.loads(before), json.loads(after)
    was, now = dict(_flat(old["settings"])), dict(_flat(new["settings"]))
    names = [n for n in sorted({*was, *now}) if was.get(n, NOTHING) != now.get(n, NOTHING)]
    for name in names[:MOST]:
        yield f"{name}: {_from_to(*(_shown(of.get(name, NOTHING)) for of in (was, now)))}"
    if len(names) > MOST:
        yield f"and {len(names) - MOST} more settings"
    if list(was) != list(now) and not names:
        yield "settings: in another order"
    if old["code"] != new["code"]:
        yield from _code_differences(record, new["settings"])


def _code_differences(record: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[str]:
    before = record.get("step", {}).get("code", {}).get("modules", {})
    try:
        loaded = loaded_modules(settings)
        after = code_modules(f"bld.stages.{record['stage']}", loaded=loaded) if before else {}
    except OSError:  # a stage that is called otherwise now
        after = {}
    names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    for name in names if after else []:
        file = name.replace(".", "/")
        digests = _from_to(_short(before.get(name)), _short(after.get(name)))
        yield f"code of workflow/{file}.py: {digests}"
    if not (names and after):
        yield "code: another than when this was made"


def _record(job: Any) -> dict[str, Any]:
    """The record of what is there now, or nothing."""
    path = Path(next((path for path in job.output if str(path).endswith(".record.json")), ""))
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting by its full name."""
    if isinstance(value, list) and value and all(map(_is_named, value)):
        value = dict(value)
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _is_named(item: Any) -> bool:
    """Whether it is a name and a section, as where the order of sections means something."""
    return isinstance(item, list) and len(item) == 2 and isinstance(item[1], dict)


def _flags(command: str) -> list[str]:
    return [part.strip() for part in command.replace(" --", "\n--").splitlines()]


def _line_differences(what: str, before: list[str], after: list[str]) -> Iterator[str]:
    gone = [line.strip() for line in before if line not in after]
    come = [line.strip() for line in after if line not in before]
    if gone or come:
        yield f"{what}: {_from_to(*(', '.join(lines) or 'nothing' for lines in (gone, come)))}"


def _digest_now(path: str) -> str | None:
    return sha256_of(path) if Path(path).is_file() else None


def _short(digest: str | None) -> str:
    return digest[:DIGITS] if digest else "none"


def _shown(value: Any) -> str:
    if value is NOTHING:
        return "not there"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _from_to(before: str, after: str) -> str:
    return f"{before} -> {after}"


def _listed(paths: list[str]) -> str:
    return ", ".join(paths[:2]) + (f" and {len(paths) - 2} more" if len(paths) > 2 else "")
