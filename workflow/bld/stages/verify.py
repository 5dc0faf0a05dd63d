"""Check a crate that may come from anybody: whether it is whole, whether its results hang together, and
what of that cannot be checked."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path

from rich.console import Console

from bld.publishing.against import compare_reports
from bld.publishing.page import findings_page
from bld.publishing.verify import verify


def main() -> None:
    """Print what was checked, what was not, and every problem; exit with 1 if there is any."""
    parser = ArgumentParser(prog="python -m bld.stages.verify", description=__doc__)
    parser.add_argument("crate", type=Path, metavar="CRATE", help="a .crate.zip")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="SUMMARY",
        help="a summary.json of who made the runs again: say where it differs from the crate's, times apart",
    )
    arguments = parser.parse_args()
    findings = verify(arguments.crate)
    if arguments.against and not findings.problems:
        compare_reports(arguments.crate, arguments.against, findings)
    console = Console(markup=False, highlight=False, emoji=False)
    console.print(findings_page(arguments.crate, findings))
    sys.exit(bool(findings.problems))


if __name__ == "__main__":
    main()
