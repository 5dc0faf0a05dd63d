"""Looks at a crate as a stranger would: believes nothing, makes again what it can, and says what it
could not check."""

from __future__ import annotations

from pathlib import Path

from bld.publishing.checks.actions import check_actions
from bld.publishing.checks.chain import check_chain
from bld.publishing.checks.code import check_code, check_commit
from bld.publishing.checks.configuration import check_configuration
from bld.publishing.checks.files import check_files
from bld.publishing.checks.records import check_records, read_records
from bld.publishing.checks.report import check_report
from bld.publishing.findings import Findings
from bld.publishing.reading import NotACrate, open_crate

CHECKS = (
    check_records,
    check_actions,
    check_chain,
    check_code,
    check_commit,
    check_configuration,
    check_report,
)
NEVER_CHECKED = (
    "who made the crate: it bears no signature; compare its SHA-256 with one that its makers have published",
    "times, hardware, memory, GPU-hours and energy: the records' word is all there is",
    "that the steps give these results when they run again: that is what `reproduce` is for",
)


def verify(path: Path) -> Findings:
    """What is wrong with a crate, what was found right, and what was not checked. It is not unpacked,
    and no code in it is run; only of the report the results are handed to this code."""
    findings = Findings()
    try:
        with open_crate(path) as crate:
            findings.checked.append("it is a zip file without dangerous entries, and an RO-Crate")
            check_files(crate, findings)
            records = read_records(crate, findings)
            for check in CHECKS:
                try:
                    check(crate, records, findings)
                except ValueError as error:
                    findings.problems.append(str(error))
            findings.not_checked += NEVER_CHECKED
    except NotACrate as error:
        findings.problems += error.reasons
    return findings
