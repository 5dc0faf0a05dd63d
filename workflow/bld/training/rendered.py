"""The documents of a split, rendered for the model that is trained."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from bld.documents.shards import read_split
from bld.files import read_manifest
from bld.progress import progress
from bld.tokenization.rendering import Rendered, Renderer


def render_split(
    manifest: Path, renderer: Renderer, at_most: int | None = None
) -> tuple[list[str], list[Rendered]]:
    """Ids and rendered documents of the split with this manifest, the first `at_most` of them."""
    for note in renderer.notes:
        print(f"tokenizer: {note}")
    total = min(read_manifest(manifest)["documents"], at_most or 1 << 62)
    ids, rendered = [], []
    stream = islice(read_split(manifest.parent), at_most)
    for document in progress("render", total, "documents", iterable=stream):
        ids.append(document.id)
        rendered.append(renderer.render(document.segments, f"document {document.id}"))
    return ids, rendered
