"""A corpus: a source of one of the kinds that there are, cut into splits."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bld.config.documents import Expected, Name, Section, Seed, Split
from bld.config.registry import SOURCES
from bld.config.source import Source

if TYPE_CHECKING:
    AnySource = Source
else:
    AnySource = Annotated[reduce(or_, SOURCES.values()), Field(discriminator="kind")]


class Corpus(Section):
    """A source of documents, cut into splits."""

    reruns = "the corpus and everything after it"

    source: AnySource
    """Where documents come from."""
    splits: dict[Name, Split] = Field(min_length=1)
    """Disjoint parts by name, train and validation for example; one added at the end changes no
    other."""
    seed: Seed = 0
    """Seed of the assignment of groups to splits."""
    turn_by_turn: bool | None = None
    """Make a document of every answer, with all before it as context: what models see that are not
    shown the reasoning of earlier turns again. null does so for conversations whose reasoning
    stands in fields of its own."""
    expected: Expected | None = None
    """How much there will be, for `snakemake plan` alone."""
