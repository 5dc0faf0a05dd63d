"""The sections of the report and its figures, each defined in a file of its own in figures/.

The rules read this too, so a figure's file imports pandas and matplotlib only where it draws.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from bld.reporting import figures

if TYPE_CHECKING:
    from bld.config.settings import Run
    from bld.reporting.plotting import Draw

SECTIONS = {
    "models": "Models",
    "benchmarks": "Benchmarks",
    "tokenizers": "Tokenizers",
    "training": "Training",
    "bytes": "Byte distributions",
    "texts": "Sample texts",
    "teacher-bytes": "Byte caches",
    "settings": "Settings",
}
"""Headings of the page in their order, by the name that figures and tables give."""


class Reported(NamedTuple):
    """What a report is on, as far as it is known before anything was run: its runs, the measures
    and benchmarks of models, and the measures of byte caches that these runs learn from."""

    runs: Sequence[Run]
    measures: Collection[str]
    benchmarks: Collection[str]
    cache_measures: Collection[str]

    @property
    def has_divergence(self) -> bool:
        """Whether students are compared with a teacher byte by byte."""
        return "byte_divergence" in self.measures and any(run.teacher for run in self.runs)


class Figure(NamedTuple):
    """A figure of the report.

    `tables` are those that it draws; it is not drawn while one of them is empty, and it stands
    below the first that the page shows in its section, or at the section's end. `draw` returns the
    matplotlib figure with a description for readers who cannot see it, or None where the tables
    hold nothing of its kind. `when` says whether the report on such runs is to have it: the rules
    then expect its file.
    """

    title: str
    caption: str
    section: str
    tables: Sequence[str]
    draw: Draw
    when: Callable[[Reported], bool] = lambda reported: True


def all_figures() -> Mapping[str, Figure]:
    """Every figure by the name of its file. Raises ValueError where one names no section of the
    page."""
    found: dict[str, Figure] = {}
    for module in pkgutil.iter_modules(figures.__path__):
        figure: Figure = import_module(f"{figures.__name__}.{module.name}").FIGURE
        if figure.section not in SECTIONS:
            raise ValueError(
                f"figures/{module.name}.py: no section {figure.section!r}; "
                f"there are {', '.join(SECTIONS)}"
            )
        found[module.name] = figure
    return found


def figures_of(reported: Reported) -> dict[str, Figure]:
    """The figures of the report on these runs by name."""
    return {name: figure for name, figure in all_figures().items() if figure.when(reported)}
