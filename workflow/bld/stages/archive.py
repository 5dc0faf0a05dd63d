"""Put runs into one crate: their report, and back from it everything that it rests on."""

from __future__ import annotations

from bld.pipeline.code_digest import PACKAGE
from bld.pipeline.step import StepParser
from bld.publishing.crate import Order, write_crate


def main() -> None:
    """Write the crate."""
    parser = StepParser(__doc__)
    parser.reads("--report", help="record of the report")
    parser.writes("--crate")
    with parser.recorded() as arguments:
        order = Order(**arguments.step.settings)
        try:
            remarks = write_crate(order, str(arguments.report), arguments.crate, PACKAGE.parents[1])
        except ValueError as error:
            raise SystemExit(str(error)) from None
        for remark in remarks:
            print(remark)
        print(f"{arguments.crate}: {arguments.crate.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
