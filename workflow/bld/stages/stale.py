"""Show what would be made again, and why, before anything runs."""

from __future__ import annotations

import subprocess
import tempfile

from bld.pipeline.stale import print_stale, stale_jobs
from bld.pipeline.step import Files, stage
from bld.pipeline.step_settings import Stale


def main() -> None:
    """Ask Snakemake, by its command in the settings, and print a table of the jobs that it would
    run."""
    with (
        stage(Stale, Files, Files) as step,
        tempfile.NamedTemporaryFile("w", suffix=".json") as file,
    ):
        file.write(step.settings.configuration)
        file.flush()
        command = [*step.settings.command, "--configfile", file.name]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr or done.stdout)
        print_stale(stale_jobs(done.stdout))


if __name__ == "__main__":
    main()
