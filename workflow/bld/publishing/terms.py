"""The names by which a crate's metadata call things: profiles, terms and kinds of files."""

from __future__ import annotations

import mimetypes
from pathlib import Path

RUN_CRATE = "https://w3id.org/ro/wfrun"
PROFILES = {
    f"{RUN_CRATE}/process/0.5": "Process Run Crate",
    f"{RUN_CRATE}/workflow/0.5": "Workflow Run Crate",
    f"{RUN_CRATE}/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
RUN_TERMS = "https://w3id.org/ro/terms/workflow-run/context"
OUR_TERMS = "https://w3id.org/ro/terms/byte-level-distillation#"
"""Where RO-Crate puts terms that a project makes up."""
ORIGINAL = "originalSha256"
"""One of them: the digest that a file had before something was taken out of it."""
SNAKEFILE = "Snakefile"
MADE = ("results/", "resources/")
"""Where steps put what they make."""
COMPLETED = "http://schema.org/CompletedActionStatus"
KINDS = {
    ".bundle": "application/x-git-bundle",
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".py": "text/x-python",
    ".rst": "text/x-rst",
    ".safetensors": "application/vnd.safetensors",
    ".svg": "image/svg+xml",
    ".yaml": "application/yaml",
}


def tool_of(stage: str) -> str:
    """The id of a stage as a tool: absolute, as the profile wants it of software."""
    return f"{OUR_TERMS}tool/{stage}"


def kind_of(path: str) -> str:
    """The media type of a file, by its name."""
    suffix = Path(path).suffix
    return KINDS.get(suffix) or mimetypes.types_map.get(suffix, "text/plain")
