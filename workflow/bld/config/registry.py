"""What there is of each kind of thing: definitions are found by the folder that they stand in, so
that adding a file there adds a method or a kind of source, and nothing else lists them. And the
sections that hold one of each: the settings of methods, and a corpus with its source."""

from __future__ import annotations

from functools import reduce
from importlib import import_module
from operator import or_
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import Field, create_model

from bld.config import methods, sources
from bld.config.documents import Entries, Expected, Fraction, Name, Section, Seed, Split
from bld.config.method import Loss, Method
from bld.config.source import Source

T = TypeVar("T")


def definitions(folder: ModuleType, base: type[T]) -> dict[str, type[T]]:
    """The subclass of `base` that each module of a package defines, by the module's name, sorted.

    Raises ValueError for a module that does not define exactly one.
    """
    names = sorted(module.name for module in iter_modules(folder.__path__))
    return {name: _defined(f"{folder.__name__}.{name}", base) for name in names}


def _defined(module: str, base: type[T]) -> type[T]:
    found = [
        value
        for value in vars(import_module(module)).values()
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module
    ]
    if len(found) != 1:
        names = ", ".join(value.__name__ for value in found) or "none"
        raise ValueError(f"{module}: expected one subclass of {base.__name__}, found {names}")
    return found[0]


METHODS = definitions(methods, Method)
"""Every method by its name."""
SOURCES = definitions(sources, Source)
"""Every kind of source by its name."""

_DOC = "The settings of every method that has some, by its name."
_FIELDS: dict[str, Any] = {
    name: (method, Field(method(), description=f"{method.title} (`method: {name}`)."))
    for name, method in METHODS.items()
    if method.model_fields
}
Methods: Any = create_model("Methods", __base__=Section, __doc__=_DOC, **_FIELDS)


if TYPE_CHECKING:
    AnySource = Source
else:
    AnySource = Annotated[reduce(or_, SOURCES.values()), Field(discriminator="kind")]


class Corpus(Section):
    """A source of documents, cut into splits."""

    reruns = "the corpus and everything after it"

    source: AnySource
    """Where documents come from."""
    splits: Entries[Split] = Field(min_length=1)
    """Disjoint parts by name, train and validation for example; one added at the end changes no
    other."""
    seed: Seed = 0
    """Seed of the assignment of groups to splits."""
    on_bad_row: Literal["stop", "skip"] = "stop"
    """What to do about a row that is no document, be it broken, empty or of an unknown form: stop
    there, or leave it out and count it, with the reason, in the manifest, the log and the report.
    """
    at_most: Fraction = 0.05
    """Fraction of the rows that may be left out; more stop the corpus."""
    judged_by: list[Name] = Field([])
    """Entries under `models` to whose chat templates and tokenizers every document is given. One
    that they refuse is no document, here and not on a GPU. Adding a model makes the corpus, and all
    after it, anew."""
    turn_by_turn: bool | None = None
    """Make a document of every answer, with all before it as context: what models see that are not
    shown the reasoning of earlier turns again. null does so for conversations whose reasoning
    stands in fields of its own."""
    expected: Expected | None = None
    """How much there will be, for `snakemake plan` alone."""


def losses() -> dict[str, Loss]:
    """The parts of all objectives by their column in the metrics; those in nats first."""
    found = {loss.column: loss for method in METHODS.values() for loss in method.losses}
    return dict(sorted(found.items(), key=lambda part: part[1].unit != "nats"))
