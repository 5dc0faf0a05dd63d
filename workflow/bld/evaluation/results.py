"""What was found of a model, as every evaluation writes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bld.files import MANIFEST, sha256_of_all, write_json


def write_evaluation(path: Path, result: Mapping[str, Any], *models: Path) -> None:
    """Write a result with the digest of the manifests of the model's folder, or folders, `model_sha256`:
    what was found of a model is not taken for what would be found of one that has replaced it."""
    digest = sha256_of_all(model / MANIFEST for model in models)
    write_json(path, {**result, "model_sha256": digest})
