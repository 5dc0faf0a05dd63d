"""On-policy distillation: in every step some documents are replaced by what the student itself
writes, so that it learns where it goes, not only where the documents do (Agarwal et al., arXiv
2306.13649; across tokenizers SimCT, arXiv 2605.07711).

The prompt is, of a chat, what stands before the first supervised turn, and of a plain text its
first bytes; the student, as it is at that step, goes on from there. What it writes becomes a
document again: spelt as bytes by its vocabulary, cut to whole characters, given back its roles, and
rendered anew, so that the student is trained on the canonical encoding of its text, which may be
other tokens than those it wrote. The live teacher reads it like any other document, so every
objective gets the signal that it knows.

Only what was written is supervised, and there only the divergence from the teacher counts: the
expectation of the gradient of the student's likelihood of its own text is zero, so its
cross-entropy would add nothing but variance. `Batch.is_student_written_N` marks that text, and
cross-entropies leave it out while their sums are still divided by all supervised tokens and bytes:
their weight falls with the fraction of documents that stay. An end that the student did not write
is not supervised either.

What replaces a piece is never longer than the piece, so rows stay as packed. Which documents are
chosen and what is written follows from seed, step and document alone: a training that goes on from
a checkpoint ends as one that was never interrupted. Of a document longer than a row only the first
piece is written anew, from as much of the prompt as stands in it; and a document stays as it is
where there is nothing to go on to: a text that ends within the prompt, or a student that writes no
whole character.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import distributed
from transformers import PreTrainedModel

from bld.arrays import Lazy
from bld.cache.top_k import Signal
from bld.config.settings import Sampling
from bld.documents.document import Document
from bld.models import device
from bld.symbols import REASONING, Segment
from bld.tokenization.rendered import RenderedTokens
from bld.tokenization.rendering import Renderer
from bld.training.batches import Batch, Batches, Signals, sizes
from bld.training.generation import generate
from bld.training.packing import Piece, Row
from bld.training.pieces import is_first
from bld.windows import batches_of_like_length

if TYPE_CHECKING:
    from bld.cache.live import LiveTeacher

POSITIONS_AT_ONCE = 1 << 15


class Written(NamedTuple):
    """A document that the student has written; its tokens [fresh, stop) are supervised, those from
    `stop` on are left out."""

    document: Document
    rendered: RenderedTokens
    fresh: int
    stop: int


class Prompt(NamedTuple):
    """What the student goes on from: all before the segment that it writes, the beginning of that
    segment, and the tokens of both that stand in its piece; a random number in [0, 1) for each
    token that it may write; and the text that its template writes before an end token."""

    before: list[Segment]
    begun: Segment
    ids: list[int]
    random: np.ndarray
    closing: bytes


class OnPolicySampler:
    """The student as it is, writing documents; it has to be whole, so ZeRO stage 3 is refused in
    the configuration."""

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
        """What replaces each piece, the first of its document; None for those that stay."""
        written: dict[Piece, Written | None] = {}
        prompts: list[tuple[Piece, Document, Prompt]] = []
        for piece, document in asked:
            written[piece], prompt = None, self._prompt(step, piece, document)
            if prompt:
                prompts.append((piece, document, prompt))
        lengths = [len(prompt.ids) + len(prompt.random) for _, _, prompt in prompts]
        for batch in batches_of_like_length(lengths, POSITIONS_AT_ONCE, padding=1.0):
            chosen = [prompts[index] for index in batch]
            completions = generate(
                self._lm,
                self._renderer.vocabulary,
                [prompt.ids for _, _, prompt in chosen],
                [prompt.random for _, _, prompt in chosen],
                self._settings.temperature,
            )
            for (piece, document, prompt), tokens in zip(chosen, completions, strict=True):
                written[piece] = self._written(step, piece, document, prompt, tokens)
        return written

    def _random(self, step: int, document: int) -> np.random.Generator:
        # Zeros at the end do not tell one seed from another.
        return np.random.default_rng([self._seed, step, document + 1])

    def _prompt(self, step: int, piece: Piece, document: Document) -> Prompt | None:
        number = next(i for i, segment in enumerate(document.segments) if segment.supervised)
        before, segment = document.segments[:number], document.segments[number]
        if segment.role == REASONING:  # the student writes its answer without
            segment = segment._replace(role="assistant")
        kept = b"" if before else whole_characters(segment.text[: self._settings.prompt_bytes])
        if kept == segment.text and not before:
            return None
        begun = segment._replace(text=kept)
        rendered = self._renderer.render([*before, begun], f"document {document.id}")
        turn = rendered.turns[0]
        ids = rendered.ids_T[piece.start : turn.last].tolist()
        room = min(piece.width - len(ids), self._settings.completion_tokens)
        if room < 1:
            return None
        random = self._random(step, piece.document)
        random.random()  # the number that chose the document
        closing = self._spelt(rendered.ids_T[turn.last : turn.end or turn.last])
        return Prompt(before, begun, ids, random.random(room), closing)

    def _written(
        self, step: int, piece: Piece, document: Document, prompt: Prompt, tokens: Sequence[int]
    ) -> Written | None:
        vocabulary, begun = self._renderer.vocabulary, prompt.begun
        spelt = self._spelt(tokens)
        if tokens[-1] in vocabulary.end:
            spelt = spelt.removesuffix(prompt.closing)
        text = whole_characters(spelt)
        segments = [*prompt.before, begun._replace(text=begun.text + text)]
        name = f"{document.id}, as the student goes on at step {step}"
        own = Document(name, document.kind, document.group, segments)
        rendered = self._renderer.render(segments, f"document {name}")
        [turn] = rendered.turns
        has_ended = tokens[-1] in vocabulary.end and text == spelt and turn.ends
        in_prompt_T = rendered.symbol_T[turn.first : turn.last] < len(begun.text)
        fresh = turn.first + int(in_prompt_T.sum())
        stop = min(turn.last + has_ended, piece.stop)
        return Written(own, rendered, fresh, stop) if fresh < stop else None

    def _spelt(self, tokens: Iterable[int]) -> bytes:
        return b"".join(self._renderer.vocabulary.token_bytes[token] or b"" for token in tokens)


class OnPolicy:
    """The batches of `corpus`, of whose documents the sampler writes a fraction anew in each step;
    `texts` are those documents before they were rendered."""

    def __init__(
        self,
        corpus: Batches,
        texts: Sequence[Document],
        sampler: OnPolicySampler,
        teacher: LiveTeacher,
    ) -> None:
        assert corpus.signals is not None, "a live teacher says something of every document"
        self.documents, self._signals = corpus.documents, corpus.signals
        self._corpus, self._texts, self._sampler = corpus, texts, sampler
        self._teacher = teacher

    def step(
        self,
        rows: Sequence[Row],
        micro_batch_size: int,
        rank: int,
        world_size: int,
        step: int = 0,
    ) -> Iterator[Batch]:
        """As `Batches.step`, after the student has written; every process writes for its own rows,
        and all have to call this together."""
        own = rows[rank::world_size]
        asked = {
            piece: self._texts[piece.document]
            for row in own
            for piece in row
            if is_first(self.documents[piece.document], piece)
            and self._sampler.is_chosen(step, piece.document)
        }
        written = self._sampler.write(step, list(asked.items()))
        new = {piece: document for piece, document in written.items() if document}
        count = len(self.documents)
        replaced = {
            piece: Piece(number, piece.start, document.stop, document.fresh)
            for number, (piece, document) in enumerate(new.items(), count)
        }
        own = [[replaced.get(piece, piece) for piece in row] for row in own]
        signals = self._teacher.of([document.document for document in new.values()])
        mixed = Batches(
            _joined(self.documents, [document.rendered for document in new.values()]),
            _Mixed(self._signals, signals, count),
            self._corpus.histories,
            first_written=count,
            has_unspelt=self._corpus.has_unspelt,
        )
        step_sizes = _over_processes(sizes(mixed.documents, own), world_size)
        batches = len(rows) / micro_batch_size
        yield from mixed.micro_batches(own, micro_batch_size, step_sizes, batches)


def _joined(
    documents: Sequence[RenderedTokens], others: Sequence[RenderedTokens]
) -> Sequence[RenderedTokens]:
    """The others behind those, none of which is touched."""
    count = len(documents)
    return Lazy(
        count + len(others),
        lambda number: documents[number] if number < count else others[number - count],
    )


class _Mixed:
    """The signals of `count` documents of the corpus, and of written ones, which are numbered after
    them."""

    def __init__(self, corpus: Signals, written: Signals, count: int) -> None:
        self._corpus, self._written, self._count = corpus, written, count

    def read(self, documents: Sequence[int]) -> list[Signal]:
        """Of each document, in any order."""
        corpus = [number for number in documents if number < self._count]
        written = [number - self._count for number in documents if number >= self._count]
        signals = [*self._corpus.read(corpus), *self._written.read(written)]
        numbers = [*corpus, *(number + self._count for number in written)]
        by_number = dict(zip(numbers, signals, strict=True))
        return [by_number[number] for number in documents]


def _over_processes(counts: tuple[int, int], world_size: int) -> tuple[int, int]:
    """The sums of both counts over all processes."""
    sums = torch.tensor(counts, device=device())
    if world_size > 1:
        distributed.all_reduce(sums)
    tokens, symbols = sums.tolist()
    return tokens, symbols


def whole_characters(text: bytes) -> bytes:
    """The text up to where it is no longer UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return text[: error.start]
    return text
