"""Does the configuration in the crate give the settings that the runs were made with?"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from bld.config.settings import Settings
from bld.pipeline.code_digest import PACKAGE
from bld.publishing.checks.chain import REPORT_STAGE
from bld.publishing.checks.code import OWN_CODE, is_ours
from bld.publishing.checks.records import Records
from bld.publishing.findings import Findings
from bld.publishing.marks import Same, same_but_for_marks
from bld.publishing.reading import CONFIGURATION, Crate


def check_configuration(crate: Crate, records: Records, findings: Findings) -> None:
    """The configuration is there and gives the settings of every run as the report has them."""
    if CONFIGURATION not in crate:
        findings.problems.append(f"{CONFIGURATION}: missing, so the runs cannot be made again")
        return
    definitions = [path.name for path in PACKAGE.glob("config*.py")]
    doubts = [f"settings are defined in another way than here ({OWN_CODE})"]
    doubts = [] if is_ours(crate, *definitions) else doubts
    findings.conclude(
        list(_problems(crate, records)),
        f"{CONFIGURATION} is valid and gives every run the settings that the report tells of",
        doubts,
    )
    findings.not_checked.append(
        f"that {CONFIGURATION} gives the settings of every other step: in a folder made by `reproduce`, "
        f"`snakemake --configfile {CONFIGURATION} -n -p` prints them all"
    )


def _problems(crate: Crate, records: Records) -> Iterator[str]:
    """What is wrong with the configuration, and where it differs from what reports tell of."""
    try:
        settings = Settings.model_validate(crate.yaml(CONFIGURATION))
    except ValidationError as error:
        first = error.errors()[0]
        yield f"{CONFIGURATION}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        return
    for name, record in records.items():
        if record.stage == REPORT_STAGE:
            redacted = record.step.redacted or any(map(crate.is_redacted, (CONFIGURATION, name)))
            same = same_but_for_marks if redacted else operator.eq
            yield from differences_from(settings, name, record.step.settings.get("runs"), same)


def differences_from(settings: Settings, report: str, runs: Any, same: Same) -> Iterator[str]:
    """Where the runs that a report tells of are not those of the configuration."""
    for run, told in runs.items() if isinstance(runs, dict) else ():
        if run not in settings.runs:
            yield f"{CONFIGURATION}: has no run {run!r}, of which {report} tells"
            continue
        own = settings.runs[run].own(mode="json")
        for text in _differences({"settings": own}, told, same):
            yield f"{CONFIGURATION}: gives {text} of run {run!r}, {report} has other settings"


def _differences(own: Any, told: Any, same: Same, name: str = "settings") -> Iterator[str]:
    """Where what a report tells is not what is expected; it may tell more."""
    if isinstance(own, dict) and isinstance(told, dict):
        for key in own:
            yield from _differences(own[key], told.get(key), same, key)
    elif not same(repr(own), repr(told)):
        yield f"{name} {own!r} (told: {told!r})"
