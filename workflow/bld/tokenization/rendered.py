"""What comes out when a document is rendered for a model, and how it is put together.

Shape letters: T tokens of the rendered document, N supervised symbols (see
`symbols.supervised_symbols`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bld.symbols import Segment, supervised_symbols


class Turn(NamedTuple):
    """A supervised segment inside a rendered document.

    Its content tokens are [first, last) and predict symbols [symbol, symbol + bytes); the symbol
    after those is END. What the model has to write before them begins at `opens`, which is `first`
    where that is nothing. `end` is the place of the end token that the template writes behind the
    content, None if it writes none there.
    """

    first: int
    last: int
    symbol: int
    text: bytes
    end: int | None
    opens: int

    @property
    def ends(self) -> bool:
        """Whether the end token stands right behind the content, and so carries END.

        Some templates write a space or a line break in between (Llama 2, Nemotron Nano). A student
        learns it together with the end token by cross-entropy; but END is not compared there, since
        that some other text follows is all that a model says behind the content itself.
        """
        return self.end == self.last


@dataclass(frozen=True, kw_only=True)
class RenderedTokens:
    """Token ids and the supervised symbols that they spell: what a training reads of a document.

    ids_T: int32. symbol_T: int32, the first supervised symbol that a token spells, -1 if it is not
    supervised. count_T: int32, how many it spells: the bytes of a content token, 1 for the end
    token of a turn. It is 0 for template tokens that a model has to write and that are trained on
    by cross-entropy alone: those before a content, which stand at its first symbol, and where the
    template writes text before an end token (see `Turn.ends`) both of these, which stand at END.
    symbols_N: uint16. `name`: what errors call the document.
    """

    ids_T: np.ndarray
    symbol_T: np.ndarray
    count_T: np.ndarray
    symbols_N: np.ndarray
    turns: tuple[Turn, ...]
    name: str = "a document"

    def __len__(self) -> int:
        return len(self.ids_T)

    @property
    def is_unspelt_T(self) -> np.ndarray:
        """Which tokens are trained on and spell no symbol."""
        is_unspelt_T: np.ndarray = (self.symbol_T >= 0) & (self.count_T == 0)
        return is_unspelt_T


@dataclass(frozen=True, kw_only=True)
class Rendered(RenderedTokens):
    """A document just rendered, with the text that its tokens spell.

    span_T2: int32 byte offsets [start, stop) in the content of `segments`, (-1, -1) for template
    tokens. `segments`: the document as this model's template writes it; the document's own where
    that writes contents alone.
    """

    span_T2: np.ndarray
    segments: tuple[Segment, ...] = ()

    @property
    def content(self) -> bytes:
        """The bytes of all segments, joined."""
        return b"".join(segment.text for segment in self.segments)


class Builder:
    """Collects the tokens of one document."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.lengths: list[int] = []
        self.is_content: list[bool] = []
        self.supervised: list[bool] = []
        self.turns: list[Turn] = []
        self.segments: list[Segment] = []
        self.symbols = 0
        self._opening = 0

    def add_template(self, ids: list[int], written: int = 0) -> None:
        """Tokens that spell no content; the last ones the model itself has `written` if the
        segment that follows is trained on."""
        self._opening = written + (self._opening if written == len(ids) else 0)
        self._add(ids, [0] * len(ids), is_content=False, supervised=False)

    def add_content(
        self, segment: Segment, ids: list[int], lengths: list[int], closing: int
    ) -> None:
        """A segment; the last of the `closing` tokens behind it is its end token."""
        first = len(self.ids)
        self.segments.append(segment)
        self._add(ids, lengths, is_content=True, supervised=segment.supervised)
        if segment.supervised:
            last = len(self.ids)
            end = last + closing - 1 if closing else None
            opens = first - self._opening
            self.turns.append(Turn(first, last, self.symbols, segment.text, end, opens))
            self.symbols += len(segment.text) + 1

    def _add(self, ids: list[int], lengths: list[int], is_content: bool, supervised: bool) -> None:
        self.ids += ids
        self.lengths += lengths
        self.is_content += [is_content] * len(ids)
        self.supervised += [supervised] * len(ids)

    def build(self, name: str) -> Rendered:
        """The document, under the name that errors call it by."""
        length_T = np.array(self.lengths, np.int32)
        stop_T = np.cumsum(length_T, dtype=np.int32)
        span_T2 = np.stack([stop_T - length_T, stop_T], axis=1)
        span_T2[~np.array(self.is_content, bool)] = -1
        symbol_T = np.full(len(self.ids), -1, np.int32)
        count_T = np.where(self.supervised, length_T, 0).astype(np.int32)
        for turn in self.turns:
            tokens = slice(turn.first, turn.last)
            symbol_T[tokens] = (
                turn.symbol + stop_T[tokens] - length_T[tokens] - stop_T[turn.first - 1]
            )
            symbol_T[turn.opens : turn.first] = turn.symbol
            if turn.end is not None:
                symbol_T[turn.last : turn.end + 1] = turn.symbol + len(turn.text)
                count_T[turn.end] = turn.ends
        return Rendered(
            ids_T=np.array(self.ids, np.int32),
            span_T2=span_T2,
            symbol_T=symbol_T,
            count_T=count_T,
            symbols_N=np.array(supervised_symbols(self.segments), np.uint16),
            turns=tuple(self.turns),
            segments=tuple(self.segments),
            name=name,
        )
