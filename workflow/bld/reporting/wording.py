"""Numbers and findings as people read them: what the tables say, in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bld.reporting.comparison import BASELINE, Comparison, difference
from bld.reporting.inputs import Run
from bld.reporting.statistics import Estimate
from bld.reporting.style import label
from bld.reporting.tables import Tables

NO_VALUE = "\u2013"


def number(value: float | None, digits: int = 3) -> str:
    """A number with thin spaces between thousands; a dash where there is none."""
    if value is None or math.isnan(value):
        return NO_VALUE
    return f"{value:,.{digits}f}".replace(",", "\u2009").replace("-", "\u2212")


def signed(value: float | None, digits: int = 3) -> str:
    """A change: always with its sign."""
    sign = "+" if value is not None and value > 0 else ""
    return sign + number(value, digits)


def percent(share: float | None, digits: int = 1) -> str:
    """A share of one, in per cent."""
    return NO_VALUE if share is None else f"{number(100 * share, digits)}\u00a0%"


def interval(estimate: Estimate) -> str:
    """Both bounds with their signs."""
    if math.isnan(estimate.low):
        return "unknown from one document"
    digits = precision(estimate)
    return f"{signed(estimate.low, digits)} to {signed(estimate.high, digits)}"


def precision(estimate: Estimate) -> int:
    """Decimals that keep the smallest part of the estimate apart from zero: three, or up to six."""
    smallest = min((abs(part) for part in estimate if part and not math.isnan(part)), default=1)
    return min(6, max(3, -math.floor(math.log10(smallest))))


def listed(items: Sequence[object]) -> str:
    """a, b and c."""
    texts = [str(item) for item in items]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def answers(tables: Tables) -> list[str]:
    """What the runs show, from the start of training to the comparison with SFT."""
    return [*_starts(tables.inputs), *_ends(tables.inputs), *_comparisons(tables)]


def caveat(tables: Tables) -> str:
    """What the intervals do not cover."""
    documents = sorted({len(run.scores.documents) for run in tables.inputs})
    seeds = {len(entry.seeds) for entry in tables.comparisons}
    text = (
        f"The intervals come from drawing the {listed(documents)} held-out documents anew. "
        "They do not cover what another seed would change"
    )
    return f"{text}, and each comparison has one seed only." if seeds == {1} else f"{text}."


def seeds_of(comparison: Comparison) -> str:
    """seed 1, or seeds 1, 2 and 3."""
    return f"{'seed' if len(comparison.seeds) == 1 else 'seeds'}\u00a0{listed(comparison.seeds)}"


def _starts(runs: Sequence[Run]) -> Iterator[str]:
    first: dict[tuple[str | None, str, str], Run] = {}
    for run in runs:
        first.setdefault((run.inputs.teacher, run.inputs.student, run.inputs.corpus), run)
    taught = {(student, corpus) for teacher, student, corpus in first if teacher is not None}
    for (teacher, student, corpus), run in first.items():
        if teacher is not None:
            yield _start(run)
        elif (student, corpus) not in taught:
            yield f"The student {student} has no teacher on {corpus}."


def _start(run: Run) -> str:
    teacher, student = f"teacher {run.inputs.teacher}", f"student {run.inputs.student}"
    where = f"on the held-out documents of {run.inputs.corpus}"
    level = run.student and number(run.student.bits_per_byte)
    if run.teacher is None:
        unknown = f"The {teacher} was not evaluated {where}: how far ahead it starts is not known."
        return f"{unknown} The {student} needs {level} before training." if level else unknown
    needs = f"the {teacher} needs {number(run.teacher.bits_per_byte)} bits per byte {where}"
    if run.student is None:
        return f"Before training, {needs}. The {student} was not evaluated."
    verdict = _verdict("The teacher", "the student", difference([run.teacher], [run.student]))
    return f"Before training, {needs}, and the {student} {level}. {verdict}."


def _ends(runs: Sequence[Run]) -> Iterator[str]:
    levels: dict[tuple[str, str], dict[str, list[float]]] = {}
    for run in runs:
        methods = levels.setdefault((run.inputs.student, run.inputs.corpus), {})
        methods.setdefault(label(run.inputs.series), []).append(run.scores.bits_per_byte)
    for (student, corpus), methods in levels.items():
        ends = listed([f"{_range(values)} with {method}" for method, values in methods.items()])
        yield f"Training on {corpus} takes {student} to {ends}."


def _comparisons(tables: Tables) -> Iterator[str]:
    series = [entry.series for entry in tables.comparisons]
    for entry in tables.comparisons:
        ours, theirs = label(entry.series), label(BASELINE)
        if series.count(entry.series) > 1:
            ours = f"{ours} ({listed(entry.runs)})"
            theirs = f"{theirs} ({listed(entry.baseline_runs)})"
        yield f"{_verdict(ours, theirs, entry.difference, seeds_of(entry))}."
    compared = {name for entry in tables.comparisons for name in entry.runs}
    for run in tables.inputs:
        if run.inputs.method != BASELINE and run.name not in compared:
            missing = f"there is no {label(BASELINE)} run with its student, corpus and seed"
            yield f"{run.name} cannot be compared: {missing}."


def _verdict(first: str, second: str, estimate: Estimate, *remarks: str) -> str:
    digits = precision(estimate)
    if not estimate.excludes_zero:
        notes = "; ".join([f"95\u00a0% interval {interval(estimate)}", *remarks])
        found = f"{first} against {second}: no difference that this data can show"
        return f"{found} ({signed(estimate.value, digits)}, {notes})"
    sizes = sorted(abs(part) for part in estimate)
    nearest, amount, farthest = (number(size, digits) for size in sizes)
    notes = "; ".join([f"95\u00a0% interval {nearest} to {farthest}", *remarks])
    direction = "fewer" if estimate.value < 0 else "more"
    return f"{first} needs {amount} {direction} bits per byte than {second} ({notes})"


def _range(values: Sequence[float]) -> str:
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"
