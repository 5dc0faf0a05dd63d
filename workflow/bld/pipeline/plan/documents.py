"""How many documents and bytes a split has: counted where it is made, else as the configuration expects."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from bld.config.settings import Corpus, Expected
from bld.files import MANIFEST, read_manifest

BYTES_PER_TOKEN = 4.0


class Amount(NamedTuple):
    """Documents of a split, bytes of their content and of what is supervised of it; `counted`: not estimated."""

    documents: float
    content: float
    supervised: float
    shards: int
    counted: bool


def expected_of(corpus: Corpus) -> Expected | None:
    """What a corpus is expected to hold, if that is known."""
    return corpus.expected or corpus.source.size


def bytes_per_token(corpus: Corpus) -> float:
    """The mean length of a token in bytes."""
    expected = expected_of(corpus)
    return expected.bytes_per_token if expected else BYTES_PER_TOKEN


def amount_of(name: str, split: str, corpus: Corpus, results: Path) -> Amount:
    """What a split holds.

    Raises ValueError if its documents are neither made nor expected.
    """
    path = results / "corpora" / name / split / MANIFEST
    settings = corpus.splits[split]
    if path.exists():
        manifest = read_manifest(path)
        return Amount(
            documents=manifest["documents"],
            content=manifest["content_bytes"],
            supervised=manifest["supervised_bytes"],
            shards=settings.shards,
            counted=True,
        )
    expected = expected_of(corpus)
    if expected is None:
        raise ValueError(
            f"corpora.{name}: how many documents it has is not known yet. Make the split `{split}` "
            f"(`snakemake ... {path}`), or say `corpora.{name}.expected`: documents and bytes_per_document"
        )
    documents = min(settings.fraction * expected.documents, settings.documents or float("inf"))
    content = documents * expected.bytes_per_document
    supervised = content * expected.supervised_fraction
    return Amount(documents, content, supervised, settings.shards, counted=False)
