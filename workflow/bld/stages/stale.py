"""Show what would be made again, and why, before anything runs."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from bld.pipeline.stale_page import print_stale
from bld.pipeline.step import StepParser


def main() -> None:
    """Ask Snakemake, by its command in the settings, and print a table of the reasons that it gives."""
    settings = StepParser(__doc__).parse_args().step.settings
    with tempfile.TemporaryDirectory() as folder:
        configuration, reasons = Path(folder, "configuration.json"), Path(folder, "reasons.jsonl")
        configuration.write_text(settings["configuration"], encoding="utf-8")
        done = subprocess.run(
            [*settings["command"], "--configfile", str(configuration)],
            env=os.environ | {"BLD_REASONS": str(reasons)},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(done.stderr or done.stdout)
        lines = reasons.read_text(encoding="utf-8").splitlines() if reasons.exists() else []
    print_stale([json.loads(line) for line in lines])


if __name__ == "__main__":
    main()
