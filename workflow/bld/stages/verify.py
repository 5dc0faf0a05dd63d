"""Check a crate that may come from anybody: whether it is whole, whether its records are a chain,
whether its report follows from its numbers, and what of that cannot be checked."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path

from bld.publishing.reading import open_crate
from bld.publishing.redraw import compare_reports
from bld.publishing.verify import verify


def main() -> None:
    """Print what was checked, what was not, and every problem; exit with 1 if there is any."""
    parser = ArgumentParser(prog="python -m bld.stages.verify", description=__doc__)
    parser.add_argument("crate", type=Path, metavar="CRATE", help="a .crate.zip")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="SUMMARY",
        help="a summary.json of who made the runs again: say where it differs from the crate's",
    )
    arguments = parser.parse_args()
    findings = verify(arguments.crate)
    if arguments.against and not findings.problems:
        with open_crate(arguments.crate) as crate:
            try:
                problems = list(compare_reports(crate, arguments.against))
            except ValueError as error:
                problems = [str(error)]
        findings.conclude(problems, f"{arguments.against} holds the same numbers, times apart")
    for sign, sentences in (
        ("holds:      ", findings.checked),
        ("not checked:", findings.not_checked),
        ("WRONG:      ", findings.problems),
    ):
        for sentence in sentences:
            print(sign, _printable(sentence))
    verdict = f"refused, {len(findings.problems)} wrong" if findings.problems else "nothing wrong"
    print(f"{arguments.crate}: {verdict}")
    sys.exit(bool(findings.problems))


def _printable(sentence: str) -> str:
    """What names in a crate could do to a terminal is shown instead of done."""
    return "".join(x if x.isprintable() or x == "\n" else repr(x)[1:-1] for x in sentence)


if __name__ == "__main__":
    main()
