"""A random sample of a split, for measures that are too dear for all of it."""

from __future__ import annotations

import random
from pathlib import Path

from bld.documents.document import Document
from bld.documents.shards import read_split
from bld.files import MANIFEST, read_manifest


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
