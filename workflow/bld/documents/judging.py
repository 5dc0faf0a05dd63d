"""Whether documents can be given to models: found when a corpus is made, not on a GPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bld.config.settings import Rendering
from bld.documents.document import Document
from bld.documents.intake import RowError
from bld.tokenization.rendering import load_renderer


class Judges:
    """The models in `folders`, by whose chat templates and tokenizers documents are judged; their
    weights are not read. Raises ValueError for a tokenizer that cannot be used."""

    def __init__(self, folders: Sequence[Path], renderings: Mapping[str, Rendering]) -> None:
        self._renderers = {
            folder.name: load_renderer(folder, **dict(renderings[folder.name]))
            for folder in folders
        }

    def refusal(self, documents: Iterable[Document]) -> RowError | None:
        """Why a model cannot be given one of the documents of a row, if that is so."""
        for document in documents:
            for model, renderer in self._renderers.items():
                try:
                    renderer.render(document.segments, f"document {document.id}")
                except ValueError as error:
                    why = f"what {model} cannot be given"
                    return RowError(why, document.id, f"{model} cannot be given this: {error}")
        return None
