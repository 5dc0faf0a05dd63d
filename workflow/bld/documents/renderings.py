"""A split rendered for one model, on disk: flat arrays that every training of it maps, so none
keeps documents in its memory or waits until they are rendered.

The arrays have the documents of one shard after those of another, each in its order, while numbers
of documents count in the order of the split (see `shards`).

Shape letters: D documents, R turns, as in `tokenization.rendered` T tokens and N supervised
symbols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bld.arrays import Lazy
from bld.config.settings import Rendering
from bld.documents.numbered import Order
from bld.files import MANIFEST, read_manifest
from bld.symbols import END
from bld.tokenization.rendered import RenderedTokens, Turn

FORMAT = 1
ENDS_AS = 0xFF
"""The byte that END is stored as: no UTF-8 has it."""
SYMBOL_OF = np.where(np.arange(ENDS_AS + 1) == ENDS_AS, END, np.arange(ENDS_AS + 1)).astype("u2")
NO_END = -1
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")


class Sizes(NamedTuple):
    """Of a document, or where it begins in the arrays: its tokens, supervised symbols, turns, and
    bytes of its id; and how many of its tokens are supervised, and of those spell nothing."""

    tokens: int
    symbols: int
    turns: int
    ids: int
    supervised: int
    unspelt: int


class Column(NamedTuple):
    """An array of a rendering: its type, which of the sizes counts its rows, and the columns of a
    row."""

    dtype: Any
    counted_as: str
    width: tuple[int, ...] = ()


def columns_for(ids: int, longest: int) -> dict[str, Column]:
    """The arrays by their names, for so many ids, of which the longest spells so many bytes."""
    return {
        "tokens": Column(np.uint16 if ids <= 1 << 16 else np.int32, "tokens"),
        "first_symbols": Column(np.int32, "tokens"),
        "counts": Column(np.uint8 if longest < 1 << 8 else np.int32, "tokens"),
        "symbols": Column(np.uint8, "symbols"),
        "turns": Column(np.int32, "turns", (5,)),
        "ids": Column(np.uint8, "ids"),
    }


def stored(id: str, document: RenderedTokens) -> tuple[dict[str, np.ndarray], Sizes]:
    """A document as the arrays hold it."""
    turns = [(t.first, t.last, t.symbol, _number(t.end), t.opens) for t in document.turns]
    symbols_N, name = document.symbols_N, id.encode()
    arrays = {
        "tokens": document.ids_T,
        "first_symbols": document.symbol_T,
        "counts": document.count_T,
        "symbols": np.where(symbols_N == END, ENDS_AS, symbols_N),
        "turns": np.array(turns, np.int32).reshape(-1, 5),
        "ids": np.frombuffer(name, np.uint8),
    }
    supervised = int((document.symbol_T >= 0).sum())
    unspelt = int(document.is_unspelt_T.sum())
    sizes = len(document), len(symbols_N), len(turns), len(name), supervised, unspelt
    return arrays, Sizes(*sizes)


def _number(end: int | None) -> int:
    return NO_END if end is None else end


class RenderedSplit(Lazy[RenderedTokens]):
    """The first `at_most` documents of a split in this folder, or all, mapped.

    Raises ValueError if the folder holds an older format or arrays of other sizes than it says.
    """

    def __init__(self, folder: Path, at_most: int | None = None) -> None:
        self.manifest = read_manifest(folder / MANIFEST)
        _check_format(folder, self.manifest)
        self._begins = _mapped(folder, "begins")
        self._arrays = {name: _mapped(folder, name) for name in columns_for(0, 0)}
        self._check_sizes(folder)
        self._order = Order(self.manifest["documents_in_shards"], self.manifest["shards_in_turn"])
        total = len(self._order)
        super().__init__(total if at_most is None else min(total, at_most), self._document)
        self.ids: Sequence[str] = Lazy(len(self), self._id)

    def _check_sizes(self, folder: Path) -> None:
        documents = sum(self.manifest["documents_in_shards"])
        last = Sizes(*self._begins[-1].tolist())._asdict()
        found = {name: len(array) for name, array in self._arrays.items()}
        expected = {name: last[c.counted_as] for name, c in columns_for(0, 0).items()}
        if len(self._begins) != documents + 1 or found != expected:
            raise ValueError(
                f"{folder}: expected arrays of {documents} documents, of sizes {expected}, found "
                f"{len(self._begins) - 1} and {found}; delete the folder and render again"
            )

    def sizes(self, name: str) -> np.ndarray:
        """One of the `Sizes` of every document, [D] in the order of the split."""
        column = Sizes._fields.index(name)
        place_D = self._places(np.arange(len(self)))
        size_D: np.ndarray = np.diff(self._begins[:, column])[place_D]
        return size_D

    def _places(self, number_D: np.ndarray) -> np.ndarray:
        """Where documents of these numbers stand in the arrays."""
        shard_D, row_D = self._order.find(number_D)
        place_D: np.ndarray = self._order.first_of_shard[shard_D] + row_D
        return place_D

    @property
    def has_unspelt(self) -> bool:
        """Whether some tokens of the documents are trained on and spell no symbol."""
        return bool(self.sizes("unspelt").any())

    def _slices(self, number: int) -> dict[str, slice]:
        place = int(self._places(np.array(number)))
        begins, ends = self._begins[place : place + 2].tolist()
        pairs = zip(Sizes._fields, begins, ends, strict=True)
        return {name: slice(begin, end) for name, begin, end in pairs}

    def _id(self, number: int) -> str:
        return self._name(self._slices(number))

    def _name(self, of: Mapping[str, slice]) -> str:
        return self._arrays["ids"][of["ids"]].tobytes().decode()

    def _document(self, number: int) -> RenderedTokens:
        of, arrays = self._slices(number), self._arrays
        symbols_N = SYMBOL_OF[arrays["symbols"][of["symbols"]]]
        text = arrays["symbols"][of["symbols"]].tobytes()
        return RenderedTokens(
            ids_T=arrays["tokens"][of["tokens"]].astype(np.int32, copy=False),
            symbol_T=arrays["first_symbols"][of["tokens"]],
            count_T=arrays["counts"][of["tokens"]].astype(np.int32, copy=False),
            symbols_N=symbols_N,
            turns=tuple(_turn(row, text) for row in arrays["turns"][of["turns"]].tolist()),
            name=f"document {self._name(of)}",
        )


def _mapped(folder: Path, name: str) -> np.ndarray:
    """An array of a file, whose pages are read when they are asked for."""
    return np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r"))


def _turn(row: Sequence[int], text: bytes) -> Turn:
    first, last, symbol, end, opens = row
    spelt = text[symbol : text.index(ENDS_AS, symbol)]
    return Turn(first, last, symbol, spelt, None if end == NO_END else end, opens)


def _check_format(folder: Path, manifest: Mapping[str, Any]) -> None:
    if manifest.get("format") != FORMAT:
        raise ValueError(
            f"{folder}: expected a rendered split of format {FORMAT}, found "
            f"{manifest.get('format')}; delete the folder and render again"
        )


def tokenizer_files(folder: Path) -> dict[str, str]:
    """The digests of what a model is rendered for by: all files of its folder but weights."""
    files = read_manifest(folder / MANIFEST)["files"]
    return {name: file["sha256"] for name, file in files.items() if not name.endswith(WEIGHTS)}


def origin(split: Path, tokenizer: Path, rendering: Rendering) -> dict[str, Any]:
    """What a rendering is made of: the documents in the folder of a split, the tokenizer in that of
    a model, and settings."""
    return {
        "content_sha256": read_manifest(split / MANIFEST)["content_sha256"],
        "tokenizer": tokenizer_files(tokenizer),
        "rendering": rendering.model_dump(mode="json"),
    }


def open_rendering(
    folder: Path,
    split: Path,
    tokenizer: Path,
    rendering: Rendering,
    at_most: int | None = None,
) -> RenderedSplit:
    """The first `at_most` documents of a split as a model is given them, in the folder `folder`;
    what their rendering found worth telling is told again.

    Raises ValueError if it was made of other documents, for another tokenizer or by other settings,
    and as `RenderedSplit` does.
    """
    rendered = RenderedSplit(folder, at_most)
    for key, expected in origin(split, tokenizer, rendering).items():
        if rendered.manifest[key] != expected:
            raise ValueError(
                f"{folder} was rendered of another {key} ({rendered.manifest[key]}) than {split} "
                f"and {tokenizer} have now ({expected}); delete the folder and render again"
            )
    for note in rendered.manifest["notes"]:
        print(f"tokenizer: {note}")
    for note in rendered.manifest["told"]:
        print(f"{split.name}: {note}")
    return rendered
