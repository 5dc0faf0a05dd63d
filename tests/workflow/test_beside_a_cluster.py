"""What runs on the login node alone leaves the cluster's jobs alone: those of a workflow that runs
in the same folder too."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = ("squeue", "scancel", "scontrol", "sacct", "sinfo", "sbatch")


def test_a_plan_asks_nothing_of_the_cluster_whose_jobs_are_running(no_network, tmp_path):
    asked = tmp_path / "asked"
    for name in COMMANDS:
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(f'#!/bin/sh\necho {name} "$@" >> {asked}\n')
        command.chmod(0o755)
    command = ["snakemake", "plan", "--snakefile", ROOT / "Snakefile", "--directory", tmp_path]
    command += ["--configfile", ROOT / "config/experiments/tiny/t1.yaml"]
    done = subprocess.run(
        [*command, "--executor", "slurm", "--jobs", "1"],
        env=no_network | {"PATH": f"{tmp_path / 'bin'}:{no_network['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert "GPU" in done.stdout, done.stdout + done.stderr
    said = asked.read_text() if asked.exists() else ""
    assert "scancel" not in said and "squeue" not in said
