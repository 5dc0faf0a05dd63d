"""Put runs into one crate: their report, and back from it everything that it rests on."""

from __future__ import annotations

from bld.pipeline.code_digest import PACKAGE
from bld.pipeline.step_parser import StepParser
from bld.publishing.crate import CrateRequest, write_crate


def main() -> None:
    """Write the crate."""
    parser = StepParser(__doc__)
    parser.reads("--report", help="record of the report")
    parser.writes("--crate")
    with parser.recorded() as arguments:
        request = CrateRequest(**arguments.step.settings)
        report, code = str(arguments.report), PACKAGE.parents[1]
        try:
            remarks = write_crate(request, report, arguments.crate, code)
        except ValueError as error:
            raise SystemExit(str(error)) from None
        for remark in remarks:
            print(remark)
        print(f"{arguments.crate}: {arguments.crate.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
