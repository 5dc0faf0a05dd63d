"""Make a working folder from a crate: its code at its commit and its configuration, ready to
run."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from bld.publishing.reproduce import instructions, reproduce


def main() -> None:
    """Fill the folder, and print what to type next."""
    parser = ArgumentParser(prog="python -m bld.stages.reproduce", description=__doc__)
    parser.add_argument("crate", type=Path, metavar="CRATE", help="a .crate.zip")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="new or empty")
    parser.add_argument(
        "--with-results",
        action="store_true",
        help="put the archived results there too, so that the report can be drawn again from them",
    )
    arguments = parser.parse_args()
    try:
        made = reproduce(arguments.crate, arguments.folder, arguments.with_results)
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from None
    print(instructions(made, arguments.crate))


if __name__ == "__main__":
    main()
