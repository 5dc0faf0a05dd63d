"""Conversations about documented functions and classes, for the embedded corpus.

Every question is one template together with the form of its answer. Which one an entry gets follows
from a hash of its qualified name, so that the task is varied and the same on every machine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from bld.documents.cutting import paragraphs

Turns = list[tuple[str, str]]


class Entry(NamedTuple):
    """A documented module, class, method, property or function.

    `name` is the qualified name inside `module`; `signature` is the heading to print, with the full
    name.
    """

    module: str
    name: str
    noun: str
    signature: str
    doc: str

    @property
    def full(self) -> str:
        """The dotted name, module first."""
        return f"{self.module}.{self.name}" if self.name else self.module

    @property
    def owner(self) -> str:
        """The class that a member belongs to, or an empty text."""
        return self.name.rpartition(".")[0]

    @property
    def public(self) -> bool:
        """Whether no part of the name begins with an underscore."""
        return not any(part.startswith("_") for part in self.name.split("."))


def documentation(entry: Entry, max_bytes: int) -> str:
    """The docstring, or as many of its first paragraphs as fit."""
    kept = ""
    for paragraph in paragraphs(entry.doc):
        if len((kept + paragraph).strip().encode()) > max_bytes:
            break
        kept += paragraph
    return kept.strip()


def summary(entry: Entry, max_bytes: int) -> str:
    """The first sentence of the docstring, on one line."""
    first_paragraph = " ".join(entry.doc.split("\n\n")[0].split())
    return _sentences(first_paragraph)[0]


def arguments(entry: Entry, max_bytes: int) -> str:
    """The signature; only functions and methods have one."""
    return entry.signature if entry.noun in ("function", "method") else ""


def returned(entry: Entry, max_bytes: int) -> str:
    """The first sentence of the docstring that speaks of what is returned, on one line."""
    for paragraph in entry.doc.split("\n\n"):
        for sentence in _sentences(" ".join(paragraph.split())):
            if re.search(r"\breturns?\b", sentence, re.IGNORECASE):
                return sentence
    return ""


def full_name(entry: Entry, max_bytes: int) -> str:
    """The name with its module; only for descriptions that say something."""
    return entry.full if len(summary(entry, max_bytes)) >= 20 else ""


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", text)


class Question(NamedTuple):
    """A template and the form of its answer (empty where an entry has no such answer)."""

    template: str
    answer: Callable[[Entry, int], str]


QUESTIONS = (
    Question("What does {full} do?", documentation),
    Question("Explain {full}.", documentation),
    Question("Explain the {noun} {name} of the module {module} to me.", documentation),
    Question("In the standard library, what is {full} for?", documentation),
    Question("What does the documentation of {full} say?", documentation),
    Question("Show me the docstring of {name} (module {module}).", documentation),
    Question("I came across `{signature}`. What is it?", documentation),
    Question("How does `{signature}` behave?", documentation),
    Question("help({full})", documentation),
    Question("Tell me about the {noun} {name} in Python's {module}.", documentation),
    Question("When reading {module} I saw {name}. What should I know about it?", documentation),
    Question("Please describe {full} the way the Python documentation does.", documentation),
    Question("{name}?", documentation),
    Question("In one sentence, what does {full} do?", summary),
    Question("Give me the first sentence of the documentation of {full}.", summary),
    Question("Summarise the {noun} {name} of {module} in a line.", summary),
    Question("What is {full}, in short?", summary),
    Question("Write a one-line comment for a call of `{signature}`.", summary),
    Question("tl;dr: {full}", summary),
    Question("What arguments does {full} take?", arguments),
    Question("How do I call {name} from the module {module}?", arguments),
    Question("What is the signature of {full}?", arguments),
    Question("Which parameters does the {noun} {name} of {module} accept?", arguments),
    Question("Write the first line of the definition of {full}.", arguments),
    Question("What does {full} return?", returned),
    Question("What do I get back from `{signature}`?", returned),
    Question("What is the result of calling {name} from {module}?", returned),
    Question('Which {noun} of the standard library is described as "{summary}"?', full_name),
    Question("Name the {noun} in {module} with this description: {summary}", full_name),
    Question("I need this from {module}: {summary} What is it called?", full_name),
    Question('Whose documentation begins "{summary}"? It is a {noun}.', full_name),
)

FOLLOW_UPS = (
    Question("And {member}?", documentation),
    Question("What about {member} of the same class?", documentation),
    Question("Now explain {member}.", documentation),
    Question("The same class has {member}. In one sentence, what is that for?", summary),
    Question("How does it differ from {member}? Just quote its documentation.", documentation),
    Question("And how is {member} called?", arguments),
)
TWO_TURNS_IN = 8


def conversations(entries: Sequence[Entry], max_bytes: int) -> list[Turns]:
    """Conversations of at most `max_bytes` bytes, one for each public entry that has an answer.

    `entries` are those of one module in their order. One in eight of the members that are followed
    by another member of their class goes on with a question about that one.
    """
    public = [entry for entry in entries if entry.name and entry.public]
    following = {
        first: second
        for first, second in pairwise(public)
        if first.owner == second.owner and first.name != second.name
    }
    made = []
    for entry in public:
        second = following.get(entry) if entry.owner and _rank(entry) % TWO_TURNS_IN == 0 else None
        turns = ask(entry, QUESTIONS, max_bytes // 2 if second else max_bytes)
        if second and turns:
            used = sum(len(text.encode()) for _, text in turns)
            turns += ask(second, FOLLOW_UPS, max_bytes - used)
        if turns:
            made.append(turns)
    return made


def ask(entry: Entry, questions: Sequence[Question], max_bytes: int) -> Turns:
    """A user's and an assistant's turn: the question that the hash picks among those that fit.

    No turns if none of them fits.
    """
    fields = {
        "full": entry.full,
        "name": entry.name,
        "member": entry.name.rpartition(".")[2],
        "module": entry.module,
        "noun": entry.noun,
        "signature": entry.signature,
        "summary": summary(entry, max_bytes),
    }
    fitting: list[Turns] = []
    for template, answer_of in questions:
        question = template.format_map(fields)
        room = max_bytes - len(question.encode())
        answer = answer_of(entry, room)
        if answer and len(answer.encode()) <= room:
            fitting.append([("user", question), ("assistant", answer)])
    return fitting[_rank(entry) // TWO_TURNS_IN % len(fitting)] if fitting else []


def _rank(entry: Entry) -> int:
    return int.from_bytes(hashlib.sha256(entry.full.encode()).digest()[:8], "big")
