"""On-policy distillation: in every step some documents are put away for what the student itself would
write in their place, so that it learns where it goes, not only where the documents do (Agarwal et al.,
arXiv 2306.13649; across tokenizers SimCT, arXiv 2605.07711).

Of a chat is kept what stands before the first supervised turn, of a plain text its first bytes; the
student, as it is at that step, goes on from there. What it writes is made a document again: spelt as
bytes by its vocabulary, cut to whole characters, given back its roles, and rendered anew, so that
the student is trained on the canonical encoding of its text, which may be other tokens than those it drew.
The live teacher reads it like any other document, so every objective gets the signal that it knows.

Only what was written is supervised, and there only the divergence from the teacher counts: the student's
likelihood of its own text has, on average over what it writes, no slope, so its cross-entropy would
teach it nothing but chance. `Batch.own_N` marks that text, and cross-entropies leave it out
while their sums are still divided by all supervised tokens and bytes: their weight falls with the share
of documents that is given. An end that the student did not write is not supervised either.

What stands in for a piece is never longer than the piece, so rows stay as packed. Which documents are
chosen and what is drawn follows from seed, step and document alone: a training that goes on from
a checkpoint ends as one that was never interrupted. Of a document longer than a row only the first piece is
written anew, and a document stays as it is where there is nothing to go on to: a text that ends within the
prompt, or a student that writes no whole character.

Shape letters: N supervised symbols of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import distributed
from transformers import PreTrainedModel

from bld.cache.top_k import Signal
from bld.config.settings import Sampling
from bld.documents.document import Document
from bld.models import device
from bld.symbols import Segment
from bld.tokenization.rendering import Rendered, Renderer
from bld.training.batches import Batch, Batches, Histories, Signals, sizes
from bld.training.generation import draw
from bld.training.packing import Piece, Row, supervised_symbols
from bld.windows import batches_of_like_length

POSITIONS_AT_ONCE = 1 << 15


class Teacher(Protocol):
    """A live teacher, see `bld.cache.live.LiveTeacher`."""

    def of(self, documents: Sequence[Document]) -> Signals:
        """What it says of these documents."""
        ...


class Written(NamedTuple):
    """A document that the student has written; its tokens [fresh, stop) are supervised, and those from
    `stop` on are left away."""

    document: Document
    rendered: Rendered
    fresh: int
    stop: int


class Prompt(NamedTuple):
    """What the student goes on from: all before the segment that it writes, the beginning of that
    segment, and the tokens of both; and the random number of each token that it may draw."""

    before: list[Segment]
    begun: Segment
    ids: list[int]
    random: np.ndarray


class Author:
    """The student as it is, writing documents; it has to be whole, so ZeRO stage 3 is refused in the
    configuration."""

    def __init__(
        self, lm: PreTrainedModel, renderer: Renderer, settings: Sampling, seed: int
    ) -> None:
        self._lm, self._renderer, self._settings, self._seed = lm, renderer, settings, seed

    def is_chosen(self, step: int, document: int) -> bool:
        """Whether the document with this number is written anew in this step."""
        return self._random(step, document).random() < self._settings.on_policy

    def write(
        self, step: int, asked: Sequence[tuple[Piece, Document]]
    ) -> dict[Piece, Written | None]:
        """What stands in for each piece, the first of its document; None for those that stay."""
        found: dict[Piece, Written | None] = {}
        prompts: list[tuple[Piece, Document, Prompt]] = []
        for piece, document in asked:
            found[piece], prompt = None, self._prompt(step, piece, document)
            if prompt:
                prompts.append((piece, document, prompt))
        lengths = [len(prompt.ids) + len(prompt.random) for _, _, prompt in prompts]
        for batch in batches_of_like_length(lengths, POSITIONS_AT_ONCE, padding=1.0):
            some = [prompts[index] for index in batch]
            drawn = draw(
                self._lm,
                self._renderer.vocabulary,
                [prompt.ids for _, _, prompt in some],
                [prompt.random for _, _, prompt in some],
                self._settings.temperature,
            )
            for (piece, document, prompt), tokens in zip(some, drawn, strict=True):
                found[piece] = self._written(step, piece, document, prompt, tokens)
        return found

    def _random(self, step: int, document: int) -> np.random.Generator:
        # Zeros at the end do not tell one seed from another.
        return np.random.default_rng([self._seed, step, document + 1])

    def _prompt(self, step: int, piece: Piece, document: Document) -> Prompt | None:
        number = next(i for i, segment in enumerate(document.segments) if segment.supervised)
        before, segment = document.segments[:number], document.segments[number]
        kept = b"" if before else whole_characters(segment.text[: self._settings.prompt_bytes])
        if kept == segment.text and not before:
            return None
        begun = segment._replace(text=kept)
        rendered = self._renderer.render([*before, begun], f"document {document.id}")
        ids = rendered.ids_T[: rendered.turns[0].last].tolist()
        room = min(piece.stop - len(ids), self._settings.completion_tokens)
        if room < 1:
            return None
        random = self._random(step, piece.document)
        random.random()  # has told that it is chosen
        return Prompt(before, begun, ids, random.random(room))

    def _written(
        self, step: int, piece: Piece, document: Document, prompt: Prompt, tokens: Sequence[int]
    ) -> Written | None:
        vocabulary, begun = self._renderer.vocabulary, prompt.begun
        spelt = b"".join(vocabulary.token_bytes[token] or b"" for token in tokens)
        text = whole_characters(spelt)
        segments = [*prompt.before, begun._replace(text=begun.text + text)]
        name = f"{document.id}, as the student goes on at step {step}"
        own = Document(name, document.kind, document.group, segments)
        rendered = self._renderer.render(segments, f"document {name}")
        [turn] = rendered.turns
        has_ended = tokens[-1] in vocabulary.end and text == spelt and turn.ends
        given = rendered.symbol_T[turn.first : turn.last] < len(begun.text)
        fresh = turn.first + int(given.sum())
        stop = min(turn.last + has_ended, piece.stop)
        return Written(own, rendered, fresh, stop) if fresh < stop else None


class OnPolicy(Batches):
    """Batches of which the author writes a share anew in each step; `texts` are the training
    documents before they were rendered."""

    def __init__(
        self,
        documents: Sequence[Rendered],
        signals: Signals,
        histories: Histories | None,
        texts: Sequence[Document],
        author: Author,
        teacher: Teacher,
    ) -> None:
        super().__init__(documents, signals, histories)
        self._texts, self._author, self._teacher_of = texts, author, teacher.of
        self._given = signals

    def step(
        self,
        rows: Sequence[Row],
        micro_batch_size: int,
        rank: int,
        world_size: int,
        step: int = 0,
    ) -> Iterator[Batch]:
        """As those of `Batches`, after the student has written; every process writes for its own
        rows, and all have to call this together."""
        own = rows[rank::world_size]
        asked = {
            piece: self._texts[piece.document]
            for row in own
            for piece in row
            if piece.start == 0 and self._author.is_chosen(step, piece.document)
        }
        written = self._author.write(step, list(asked.items()))
        new = {piece: one for piece, one in written.items() if one}
        given = len(self.documents)
        stand_ins = {
            piece: Piece(number, 0, one.stop, one.fresh)
            for number, (piece, one) in enumerate(new.items(), given)
        }
        own = [[stand_ins.get(piece, piece) for piece in row] for row in own]
        signals = _Both(
            self._given, self._teacher_of([one.document for one in new.values()]), given
        )
        documents = [*self.documents, *(one.rendered for one in new.values())]
        both = Batches(documents, signals, self._histories)
        batches = len(rows) / micro_batch_size
        tokens, symbols = (max(1, n) / batches for n in _of_all(*sizes(documents, own), world_size))
        for first in range(0, len(own), micro_batch_size):
            some = own[first : first + micro_batch_size]
            batch = both.collate(some, tokens, symbols)
            yield replace(batch, own_N=_own(documents, some, given))


class _Both:
    """The signals of documents that were given, and of written ones, which are numbered after them."""

    def __init__(self, given: Signals, written: Signals, count: int) -> None:
        self._given, self._written, self._count = given, written, count

    def read(self, documents: Sequence[int]) -> list[Signal]:
        """Of each document, given ones first or not."""
        given = [number for number in documents if number < self._count]
        written = [number - self._count for number in documents if number >= self._count]
        found = [*self._given.read(given), *self._written.read(written)]
        numbers = [*given, *(number + self._count for number in written)]
        by_number = dict(zip(numbers, found, strict=True))
        return [by_number[number] for number in documents]


def _own(documents: Sequence[Rendered], rows: Sequence[Row], given: int) -> torch.Tensor:
    """Which symbols of the rows' batch the student has written, [N]."""
    pieces = [piece for row in rows for piece in row]
    ranges = [supervised_symbols(documents[piece.document], piece) for piece in pieces]
    counts = [last - first for first, last in ranges]
    return torch.from_numpy(np.repeat([piece.document >= given for piece in pieces], counts))


def _of_all(tokens: int, symbols: int, world_size: int) -> list[int]:
    """The sums over processes."""
    sums = torch.tensor([tokens, symbols], device=device())
    if world_size > 1:
        distributed.all_reduce(sums)
    return sums.tolist()


def whole_characters(text: bytes) -> bytes:
    """The text up to where it is no longer UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return text[: error.start]
    return text
