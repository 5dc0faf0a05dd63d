"""The questions that a reader has first, answered from the comparisons. No winner is named whose
interval includes zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from markupsafe import Markup

from bld.reporting.cells import TWO, Cells
from bld.reporting.comparison import Comparison
from bld.reporting.inputs import Run
from bld.reporting.page_tables import name_of
from bld.reporting.tables import Tables
from bld.reporting.words import (
    BITS,
    TEACHER,
    UNTRAINED,
    VERDICTS,
    listed,
    number,
    precision,
    signed,
)

MAX_SENTENCES = 4
"""Of more comparisons than this, the best have a sentence; the table of methods has all."""
SHORT = {"better": "Yes", "worse": "No", "not shown": "No difference shown"}


class Answer(NamedTuple):
    """A question, its answer in a word or two, and the sentences behind it."""

    question: str
    short: str
    sentences: Sequence[Markup]


def answers(tables: Tables, notes: int) -> list[Answer]:
    """The four answers; `notes` is the number of failures and warnings on the page."""
    methods = [x for x in tables.with_baseline if x[1].metric == BITS]
    best = sorted(methods, key=lambda x: x[1].difference.value)[:MAX_SENTENCES]
    cells = Cells(tables.frames, "comparison")
    return [
        _teacher(tables, cells),
        Answer(
            "What did distillation add over SFT?",
            _gain([comparison for _, comparison in methods]),
            [_sentence(cells, name_of(tables, x), row, x) for row, x in best]
            or [
                Markup("No run of another method shares student, corpus and seed with an SFT run.")
            ],
        ),
        Answer(
            "At what cost?",
            _cost([x.seconds_over for _, x in methods]),
            [
                _cost_sentence(cells, name_of(tables, x), row)
                for row, x in best
                if x.seconds_over > 0
            ]
            or [Markup("No two trainings can be compared.")],
        ),
        _certainty(tables, notes),
    ]


def _teacher(tables: Tables, cells: Cells) -> Answer:
    verdicts, sentences = set(), []
    models = Cells(tables.frames, "models")
    level_of = {(row.model, row.series, row.corpus): row.Index for row in models.frame.itertuples()}
    for row, comparison in enumerate(tables.comparisons):
        if (comparison.against, comparison.metric) == (UNTRAINED, BITS):
            verdicts.add(comparison.verdict)
            pair = (comparison.ours[0].name, TEACHER), (comparison.student, UNTRAINED)
            levels = [models.traced(level_of[*x, comparison.corpus], BITS) for x in pair]
            text = (
                "The teacher {} needs {} bits per byte on {}, the student {} {} before training. "
            )
            sentences.append(
                Markup(text).format(
                    pair[0][0], levels[0], comparison.corpus, comparison.student, levels[1]
                )
                + _sentence(cells, "Teacher minus student", row, comparison)
            )
    short = "It depends" if len(verdicts) > 1 else SHORT[verdicts.pop()] if verdicts else ""
    nothing = "No teacher and student were both evaluated."
    return Answer(
        "Is the teacher better than the student?",
        short or "Not measured",
        sentences or [Markup(nothing)],
    )


def _sentence(cells: Cells, name: str, row: int, comparison: Comparison) -> Markup:
    show = partial(signed, digits=precision(*comparison.difference))
    return Markup("{}: {} bits per byte (95\u00a0% interval {}), {}.").format(
        name,
        cells.traced(row, "difference", show),
        cells.interval(row, show),
        VERDICTS[comparison.verdict],
    )


def _gain(compared: Sequence[Comparison]) -> str:
    """The largest difference that this data shows."""
    gains = [-x.difference.value for x in compared if x.difference.excludes_zero]
    if not gains:
        return "No difference shown" if compared else "Not measured"
    if min(gains) < 0 < max(gains):
        return "It depends on the method"
    largest = max(gains, key=abs)
    digits = 2 if abs(largest) >= 0.01 else precision(largest)
    return (
        f"Up to {number(abs(largest), digits)} {'fewer' if largest > 0 else 'more'} bits per byte"
    )


def _cost(factors: Sequence[float]) -> str:
    known = [factor for factor in factors if not math.isnan(factor)]
    return f"{_range(known, 2)} times the training time" if known else "Not measured"


def _cost_sentence(cells: Cells, name: str, row: int) -> Markup:
    text = "{}: {} times the training time of SFT, warm-up included, and {} times its memory."
    return Markup(text).format(
        name, cells.traced(row, "seconds_over", TWO), cells.traced(row, "memory_over", TWO)
    )


def _certainty(tables: Tables, notes: int) -> Answer:
    evaluated = [run.model.documents for run in tables.runs if len(run.model.documents)]
    seeds = [len(comparison.seeds) for _, comparison in tables.with_baseline] or [1]
    if not evaluated:
        return Answer("How sure is that?", "Not at all", [Markup("No run was evaluated.")])
    text = (
        "Intervals are 95\u00a0%, from resampling groups of held-out documents (those of one "
        "module, one source file or identical texts), the same for both models of a comparison. "
        "They do not cover what another seed would change: {}. Of comparisons without a true "
        "difference one in twenty shows one; this page makes {}. "
        '<a href="#notes">Failures and warnings</a>: {}.'
    )
    return Answer(
        "How sure is that?",
        f"Documents: {_range([*map(len, evaluated)])}, groups: "
        f"{_range([x['group'].nunique() for x in evaluated])}, seeds: {_range(seeds)}",
        [Markup(text).format(_of_seeds(tables.runs), len(tables.with_baseline), notes)],
    )


def _of_seeds(runs: Sequence[Run]) -> str:
    """What the seeds of these runs vary."""
    settings = [run.settings for run in runs]
    parts = {
        "the order of the documents": True,
        "the first weights of byte heads": any(run.has_warmup for run in settings),
        "the first weights of low-rank updates": any(run.training.lora for run in settings),
        "what students write": any(run.sampling.on_policy for run in settings),
    }
    varied = listed([part for part, is_varied in parts.items() if is_varied])
    return f"{varied}, and dropout where a model has it; all else is the same for each seed"


def _range(values: Sequence[float], digits: int = 0) -> str:
    low, high = number(min(values), digits), number(max(values), digits)
    return low if low == high else f"{low} to {high}"
