"""The settings of archives: which runs, by whom, and under which licence.

`config` is the place to import settings from.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from bld.config.documents import Name, Section

Orcid = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{4}-\d{4}-\d{3}[0-9X]$")]
Licence = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.+-]+$")]


class Author(Section):
    """Who answers for an archive."""

    reruns = "the archive"

    name: str = Field(min_length=1)
    """As it stands on a paper."""
    orcid: Orcid | None = None
    """ORCID, such as 0000-0002-1825-0097."""
    affiliation: str | None = None
    """University, company or institute."""


class Archive(Section):
    """Runs that are put into one crate, with all that they were made of:
    `results/archive/{name}.crate.zip`."""

    reruns = "the archive (`title` and `runs`: the report in it too)"

    title: str = "Byte-level distillation: runs with their full provenance"
    """Its name."""
    description: str = (
        "Language models distilled through bytes: configuration, code, environments, records of "
        "every step, measures and the report."
    )
    """What is in it, in a sentence or two."""
    runs: list[Name] | None = Field(None, min_length=1)
    """Entries under `runs`; null is all."""
    authors: list[Author] = Field([])
    """Who answers for it; without any it names nobody."""
    licence: Licence = "Apache-2.0"
    """Licence of what is in it, an SPDX identifier (https://spdx.org/licenses)."""
    include_weights: bool = False
    """Put the trained students and their byte heads in as well; else they are known by their
    digests."""
