"""What evaluations read and write: a random sample of a split, for measures that are too expensive
for all of it, and results that name the model that they are of."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bld.documents.document import Document
from bld.documents.shards import read_split
from bld.files import MANIFEST, read_manifest, sha256_of_all, write_json


def sample_documents(folder: Path, count: int, seed: int) -> list[Document]:
    """`count` documents of the split in `folder`, in its order; all of them if it has no more.

    The same documents, count and seed give the same sample. Raises ValueError if no document of the
    sample has a supervised byte.
    """
    total = read_manifest(folder / MANIFEST)["documents"]
    chosen = set(random.Random(seed).sample(range(total), min(count, total)))
    documents = [d for index, d in enumerate(read_split(folder)) if index in chosen]
    if not any(document.supervised for document in documents):
        raise ValueError(
            f"none of the {len(documents)} documents drawn from {folder} has a supervised byte; "
            "raise audit.documents, or choose another audit.seed"
        )
    return documents


def write_evaluation(path: Path, result: Mapping[str, Any], *models: Path) -> None:
    """Write a result with the digest of the manifests of the model's folder, or folders,
    `model_sha256`: what was found of a model is not taken for what would be found of one that has
    replaced it."""
    digest = sha256_of_all(model / MANIFEST for model in models)
    write_json(path, {**result, "model_sha256": digest})
