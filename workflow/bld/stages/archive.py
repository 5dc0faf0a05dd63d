"""Put runs into one crate: their report, and back from it everything that it rests on."""

from __future__ import annotations

from bld.pipeline.code_digest import PACKAGE
from bld.pipeline.step import File, Files, stage
from bld.pipeline.step_settings import Archive
from bld.publishing.crate import write_crate


class Inputs(Files):
    """`report`: its record."""

    report: File


class Outputs(Files):
    """The crate."""

    crate: File


def main() -> None:
    """Write the crate."""
    with stage(Archive, Inputs, Outputs) as step:
        report, crate = str(step.inputs.report), step.outputs.crate
        try:
            remarks = write_crate(step.settings, report, crate, PACKAGE.parents[1])
        except ValueError as error:
            raise SystemExit(str(error)) from None
        for remark in remarks:
            print(remark)
        print(f"{crate}: {crate.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
