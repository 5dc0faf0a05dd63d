"""Lint, format and types, as every change has to keep them."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "--no-cache", "workflow", "tests", "benchmarks"],
        ["ruff", "format", "--no-cache", "--check", "workflow", "tests", "benchmarks"],
        ["mypy", "--cache-dir=/dev/null"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_the_code_is_clean(command):
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
