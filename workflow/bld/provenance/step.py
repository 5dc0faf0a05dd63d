"""A step's identity: the settings that it reads and the digest of the code that it runs, as one
line of sorted JSON.

Snakemake compares this line between invocations, and it is the step's own `--step` argument: what a
step can read is what it is rerun for.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from bld.provenance.fingerprint import code_digest


class Step(NamedTuple):
    """`settings`: what the step reads; `identity`: digest of the whole line."""

    settings: dict[str, Any]
    identity: str


def step_line(module: str, settings: Mapping[str, Any]) -> str:
    """The identity of the step that runs `module` with these settings."""
    step = {"code": code_digest(module), "settings": settings}
    return json.dumps(step, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def parse_step(line: str) -> Step:
    """Read a step line back."""
    return Step(json.loads(line)["settings"], hashlib.sha256(line.encode()).hexdigest())


def step_parser(description: str | None) -> argparse.ArgumentParser:
    """An argument parser that knows `--step`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--step", type=parse_step, required=True, help="settings and code digest")
    return parser
