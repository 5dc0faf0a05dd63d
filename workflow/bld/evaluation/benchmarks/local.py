"""Benchmarks made from the documents of a split, so that there are some without any network.

Each is a task of lm-eval: its definition lies beside this module, its documents are drawn here. The
next line and the next word are such that a model of a few million parameters, trained on source for
minutes, is above chance and far from perfect; documentations need a larger one.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bld.documents.document import Document

DOCUMENTS = "documents.jsonl"
TASK = "task.yaml"

CONTEXT = range(200, 800)
"""How many characters of source stand before what is asked for: enough to go by, and no more tokens
than small models have positions for, even one for each byte."""

CANDIDATES = 4
LIKE_LENGTH = 10
"""How far up and down the lines, sorted by length, the wrong candidates are drawn from."""
MIN_LINE = 30
"""Characters of a line without its indentation, or of a documentation; a shorter one fits almost
anywhere."""

WORD = re.compile(r"(?<![\w\"'])[A-Za-z_]\w*")
TIMES_BEFORE = 4

Row = dict[str, Any]


def write_benchmark(
    kind: str, documents: Sequence[Document], count: int, seed: int, folder: Path
) -> None:
    """Write `count` documents of one kind of task, and the task, into `folder`.

    "documentation": which of four belongs to a function; "next_line": which of four lines comes
    next; "next_word": the word itself; "bits_per_byte": plain text. The same documents and seed
    give the same files. Raises ValueError if too few documents suit the task.
    """
    make, suitable = KINDS[kind]
    rows = list(make(documents, random.Random(seed)))
    if len(rows) < count:
        raise ValueError(
            f"only {len(rows)} of the {len(documents)} documents of the split suit a benchmark of "
            f"kind {kind} ({suitable}), and it asks for {count}: lower `documents` of the "
            "benchmark, or take more into the split"
        )
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows[:count]]
    (folder / DOCUMENTS).write_text("".join(lines), encoding="utf-8", newline="\n")
    shutil.copyfile(Path(__file__).with_name(f"{kind}.yaml"), folder / TASK)


class _Piece(NamedTuple):
    """What may be asked for, and what stands before it."""

    length: int
    text: str
    id: str
    group: str
    before: str


def documentations(documents: Sequence[Document], draw: random.Random) -> Iterator[Row]:
    """The heading of a function or class, and the first paragraphs of four documentations: its own,
    and three of like length from documents of other groups."""
    yield from _choices([_documentation(document) for document in documents], draw)


def next_lines(documents: Sequence[Document], draw: random.Random) -> Iterator[Row]:
    """A piece of source up to a line, and four lines: that one, and three of like length from
    documents of other groups. One of each piece."""
    yield from _choices([_some_line(document, draw) for document in documents], draw)


def _choices(found: Sequence[_Piece | None], draw: random.Random) -> Iterator[Row]:
    pieces = sorted(filter(None, found))
    rows = []
    for place, piece in enumerate(pieces):
        near = pieces[max(0, place - LIKE_LENGTH) : place + LIKE_LENGTH + 1]
        wrong = sorted({one.text for one in near if one.group != piece.group} - {piece.text})
        if len(wrong) < CANDIDATES - 1:
            continue
        candidates = [piece.text, *draw.sample(wrong, CANDIDATES - 1)]
        draw.shuffle(candidates)
        answer = candidates.index(piece.text)
        rows.append(
            {
                "id": piece.id,
                "group": piece.group,
                "source": piece.before,
                "candidates": candidates,
                "answer": answer,
            }
        )
    draw.shuffle(rows)
    yield from rows


def _documentation(document: Document) -> _Piece | None:
    """The first paragraph of a documentation that does not name what it belongs to."""
    if document.kind != "docstring":
        return None
    heading, _, documentation = document.content.decode().partition("\n\n")
    paragraph = documentation.split("\n\n")[0].strip()
    name = heading.partition("(")[0].rpartition(".")[2]
    if len(paragraph) < MIN_LINE or name.lower() in paragraph.lower():
        return None
    return _Piece(len(paragraph), paragraph, document.id, document.group, heading)


def _some_line(document: Document, draw: random.Random) -> _Piece | None:
    """A long enough line of a piece of source, after enough others."""
    if document.kind != "source":
        return None
    lines = document.content.decode().split("\n")
    befores = ["\n".join(lines[:number]) for number in range(len(lines))]
    fit = [
        (line, before)
        for line, before in zip(lines, befores, strict=True)
        if len(before) in CONTEXT and len(line.strip()) >= MIN_LINE
    ]
    if not fit:
        return None
    line, before = draw.choice(fit)
    return _Piece(len(line), line, document.id, document.group, before)


def next_words(documents: Sequence[Document], draw: random.Random) -> Iterator[Row]:
    """A piece of source up to a word, not the first of its line, that stood in it at least four
    times. One of each piece.

    Blanks before the word are left to the model, which may have them in the same token.
    """
    for document in draw.sample(documents, len(documents)):
        if document.kind != "source":
            continue
        text = document.content.decode()
        words = list(WORD.finditer(text))
        fit = [
            word
            for number, word in enumerate(words)
            if word.start() in CONTEXT
            and text[: word.start()].rpartition("\n")[2].strip()
            and sum(word[0] == other[0] for other in words[:number]) >= TIMES_BEFORE
        ]
        if fit:
            word = draw.choice(fit)
            source = text[: word.start()].rstrip(" \t")
            yield {
                "id": document.id,
                "group": document.group,
                "source": source,
                "word": word[0],
            }


def texts(documents: Sequence[Document], draw: random.Random) -> Iterator[Row]:
    """Documents of plain text, whole."""
    for document in draw.sample(documents, len(documents)):
        if [segment.role for segment in document.segments] == ["text"]:
            yield {
                "id": document.id,
                "group": document.group,
                "text": document.content.decode(),
            }


Maker = Callable[[Sequence[Document], random.Random], Iterator[Row]]

KINDS: dict[str, tuple[Maker, str]] = {
    "documentation": (
        documentations,
        f"docstrings with a paragraph of {MIN_LINE} characters that does not name its function",
    ),
    "next_line": (
        next_lines,
        f"pieces of source with a line of {MIN_LINE} characters after {CONTEXT.start} others",
    ),
    "next_word": (
        next_words,
        f"pieces of source with a word that stood before {TIMES_BEFORE} times or more",
    ),
    "bits_per_byte": (texts, "plain text"),
}
