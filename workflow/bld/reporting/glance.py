"""What a reader wants to know first, answered in plain sentences: is the teacher better, what did distillation add, at what
cost, and how sure is that. No winner is named whose interval holds zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from bld.reporting.comparison import BITS, DIVERGENCE, Comparison
from bld.reporting.inputs import TEACHER, UNTRAINED, Run
from bld.reporting.numbers import listed, number, precision, signed
from bld.reporting.series import BASELINE, label
from bld.reporting.source import Source
from bld.reporting.tables import Tables

FEW = 4
"""More comparisons than this are told of the best alone; the table of methods has them all."""


class Answer(NamedTuple):
    """A question, its answer in a word or two, and the sentences behind it."""

    question: str
    short: str
    sentences: list[Markup]


def answers(tables: Tables, source: Source, notes: int) -> list[Answer]:
    """The four answers; `notes` is the number of failures and warnings on the page."""
    return [
        _teacher(tables, source),
        _distillation(tables, source),
        _cost(tables, source),
        _certainty(tables, notes),
    ]


def _teacher(tables: Tables, source: Source) -> Answer:
    verdicts, sentences = set(), []
    for run in _one_of_each_setting(tables.runs):
        student, corpus = run.setting
        if run.teacher is None:
            text = "The student {} has no teacher on {}."
            sentences.append(Markup(text).format(student, corpus))
            continue
        row = _comparison(tables, TEACHER, UNTRAINED, run)
        if row is None:
            who = run.teacher.name if run.teacher.bits_per_byte is None else student
            text = "{} was not evaluated on {}: how far ahead the teacher starts is not known."
            sentences.append(Markup(text).format(who, corpus))
            continue
        verdicts.add(tables.comparisons[row].verdict)
        levels = [
            source(
                "models", source.rows("models", model=name, series=series, corpus=corpus)[0], BITS
            )
            for name, series in ((run.teacher.name, TEACHER), (student, UNTRAINED))
        ]
        text = (
            "On the held-out documents of {}, the teacher {} needs {} bits per byte{} and the student {} {} before "
            "training: {}."
        )
        sentences.append(
            Markup(text).format(
                corpus,
                run.teacher.name,
                levels[0],
                " (by bytes, as it averages models)" * run.has_averaged_teacher,
                student,
                levels[1],
                _difference(tables, source, row),
            )
        )
    return Answer("Is the teacher better than the student?", _short(verdicts), sentences)


def _distillation(tables: Tables, source: Source) -> Answer:
    sentences = []
    told = _told(tables)
    for row, one in told:
        text = "{}: {} than {}{}." if one.verdict != "not shown" else "{}: {} against {}{}."
        sentences.append(
            Markup(text).format(
                _who(tables, one),
                _difference(tables, source, row),
                _baseline(tables, one),
                _others(tables, one),
            )
        )
    sentences += _rest(tables, told)
    sentences += _left_out(tables)
    if not sentences:
        sentences = [Markup("Nothing was distilled: all runs are plain fine-tuning.")]
    return Answer(f"What did distillation add over {label(BASELINE)}?", _gain(tables), sentences)


def _left_out(tables: Tables) -> list[Markup]:
    """Which runs stand in no comparison with SFT, and why; of many with one reason the first is named."""
    compared = {x.name for one in tables.comparisons if one.metric == BITS for x in one.ours}
    names: dict[str, list[str]] = {}
    for run in tables.runs:
        if run.series != BASELINE and run.name not in compared:
            names.setdefault(_why_not(tables, run), []).append(run.name)
    sentences: list[Markup] = []
    for why, runs in names.items():
        if len(runs) > FEW:
            several = Markup("{} runs cannot be compared, {} among them: {}.")
            sentences.append(several.format(len(runs), runs[0], why))
        else:
            single = Markup("{} cannot be compared: {}.")
            sentences += [single.format(name, why) for name in runs]
    return sentences


def _why_not(tables: Tables, run: Run) -> str:
    """Why there is no comparison of this run with SFT."""
    if run.judged.documents.empty:
        return "it was not evaluated"
    who = (*run.setting, run.settings["seed"])
    for one in tables.runs:
        is_its_baseline = one.series == BASELINE and (*one.setting, one.settings["seed"]) == who
        if is_its_baseline and not one.judged.documents.empty:
            return f"{one.name} was evaluated on other documents"
    return f"there is no evaluated {label(BASELINE)} run with its student, corpus and seed"


def _with_baseline(tables: Tables) -> list[tuple[int, Comparison]]:
    """The comparisons with SFT in bits per byte, with their rows."""
    return [
        (row, one)
        for row, one in enumerate(tables.comparisons)
        if one.against == BASELINE and one.metric == BITS
    ]


def _told(tables: Tables) -> list[tuple[int, Comparison]]:
    """Those that get a sentence: all, or the best where they are many."""
    found = _with_baseline(tables)
    if len(found) <= FEW:
        return found
    return sorted(found, key=lambda x: x[1].difference.value)[:FEW]


def _rest(tables: Tables, told: Sequence[tuple[int, Comparison]]) -> list[Markup]:
    if len(told) == len(_with_baseline(tables)):
        return []
    return [Markup('The others stand in the <a href="#table-methods">table of methods</a>.')]


def _gain(tables: Tables) -> str:
    """The differences that this data shows, smallest to largest."""
    compared = [one for _, one in _with_baseline(tables)]
    if not compared:
        return "Not measured"
    gains = sorted(-one.difference.value for one in compared if one.difference.excludes_zero)
    if not gains:
        return "Nothing that this data can show"
    if gains[0] < 0 < gains[-1]:
        return "It depends on the method"
    sizes = [abs(gain) for gain in gains]
    digits = 2 if min(sizes) >= 0.01 else precision(*sizes)
    is_all = len(gains) == len(compared)
    reach = _reach(sizes, digits) if is_all else f"Up to {number(max(sizes), digits)}"
    return f"{reach} {'fewer' if gains[0] > 0 else 'more'} bits per byte"


def _cost(tables: Tables, source: Source) -> Answer:
    factors = [x.seconds_over for _, x in _with_baseline(tables) if not math.isnan(x.seconds_over)]
    sentences, told = [], _told(tables)
    for row, one in told:
        if not math.isnan(one.seconds_over):
            memory = Markup("")
            if not math.isnan(one.memory_over):
                times = source("comparison", row, "memory_over", lambda x: number(x, 2))
                memory = Markup(" and {} times the memory").format(times)
            text = "{} took {} times as long to train as {}{}, warm-up included."
            sentences.append(
                Markup(text).format(
                    _who(tables, one),
                    source("comparison", row, "seconds_over", lambda x: number(x, 2)),
                    _baseline(tables, one),
                    memory,
                )
            )
    if not factors:
        return Answer(
            "At what cost?", "Not measured", [Markup("No two trainings can be compared.")]
        )
    sentences += _rest(tables, told)
    sentences.append(
        Markup("Scoring the teacher ahead of training, which runs share, is not in it.")
    )
    return Answer(
        "At what cost?", f"{_reach(factors, digits=2)} times the training time", sentences
    )


def _certainty(tables: Tables, notes: int) -> Answer:
    counts = sorted({len(run.judged.documents) for run in tables.runs if len(run.judged.documents)})
    seeds = sorted({len(one.seeds) for one in tables.comparisons if one.against == BASELINE})
    short = "Not at all"
    if counts:
        of_seeds = f"{listed(seeds or [1])} seed{'s' * (seeds not in ([], [1]))}"
        short = f"{of_seeds}, {listed(counts)} documents"
    text = (
        "Intervals are 95\u00a0%, from drawing the {} held-out documents anew, for both models of a comparison alike. They do "
        "not cover what another seed would change{}."
    )
    one_seed = ", and each comparison has one seed only" if seeds == [1] else ""
    sentences = [Markup(text).format(listed(counts), one_seed)] if counts else []
    compared = sum(one.against == BASELINE for one in tables.comparisons)
    if compared > 1:
        text = "Of comparisons in which there is nothing to find, one in twenty seems to find something; here are {}."
        sentences.append(Markup(text).format(compared))
    if notes:
        text = '<a href="#notes">{}</a> on this page.'
        sentences.append(
            Markup(text).format("One warning" if notes == 1 else f"{notes} failures and warnings")
        )
    return Answer("How sure is that?", short, sentences)


def _difference(tables: Tables, source: Source, row: int) -> Markup:
    """0.1 fewer bits per byte (interval); or that nothing can be seen."""
    one = tables.comparisons[row]
    digits = precision(*one.difference)
    seeds = Markup("")
    if one.seeds:
        seeds = Markup("; {} {}").format(
            "seed" if len(one.seeds) == 1 else "seeds", listed(one.seeds)
        )
    if one.verdict == "not shown":
        text = "no difference that this data can show ({}, 95\u00a0% interval {}{})"
        value = source("comparison", row, "difference", lambda x: signed(x, digits))
        bounds = source.interval("comparison", row, lambda x: signed(x, digits))
        return Markup(text).format(value, bounds, seeds)
    sizes = sorted(("low", "high"), key=lambda bound: abs(getattr(one.difference, bound)))
    amount, nearest, farthest = (
        source("comparison", row, column, lambda x: number(abs(x), digits))
        for column in ("difference", *sizes)
    )
    text = "{} {} bits per byte (95\u00a0% interval {} to {}{})"
    direction = "fewer" if one.difference.value < 0 else "more"
    return Markup(text).format(amount, direction, nearest, farthest, seeds)


def _others(tables: Tables, one: Comparison) -> Markup:
    """How the same runs compare by everything else that was measured."""
    found: dict[str, list[str]] = {"better": [], "worse": [], "not shown": []}
    for other in tables.comparisons:
        same = (other.ours, other.theirs) == (one.ours, one.theirs)
        if same and other.against == BASELINE and other.metric != BITS:
            name = "closeness to the teacher" if other.metric == DIVERGENCE else other.metric
            found[other.verdict].append(name)
    parts = [
        f"{verdict} in {listed(names)}"
        for verdict, names in found.items()
        if names and verdict != "not shown"
    ]
    if found["not shown"]:
        parts.append(f"no difference shown in {listed(found['not shown'])}")
    return Markup("; {}").format("; ".join(parts)) if parts else Markup("")


def _who(tables: Tables, one: Comparison) -> str:
    """The series: with student and corpus where there are several, with its runs where it has several
    sets of settings there."""
    compared = [one for _, one in _with_baseline(tables)]
    who, setting = label(one.series), (one.student, one.corpus)
    if len({(x.student, x.corpus) for x in compared}) > 1:
        who += f" on {one.student}" + f", {one.corpus}" * (len({x.corpus for x in compared}) > 1)
    same = [x for x in compared if (x.series, x.student, x.corpus) == (one.series, *setting)]
    return who if len(same) == 1 else f"{who} ({listed([model.name for model in one.ours])})"


def _baseline(tables: Tables, one: Comparison) -> str:
    """SFT: with its runs where there are several sets of settings of it."""
    setting = one.student, one.corpus
    others = {
        tuple(model.name for model in x.theirs)
        for x in tables.comparisons
        if x.against == BASELINE and (x.student, x.corpus) == setting and x.seeds == one.seeds
    }
    names = listed([model.name for model in one.theirs])
    return label(BASELINE) if len(others) == 1 else f"{label(BASELINE)} ({names})"


def _comparison(tables: Tables, series: str, against: str, run: Run) -> int | None:
    for row, one in enumerate(tables.comparisons):
        is_it = (one.series, one.against, one.metric) == (series, against, BITS)
        if (
            is_it
            and (one.student, one.corpus) == run.setting
            and run.settings["teacher"] in [x.name for x in one.ours]
        ):
            return row
    return None


def _one_of_each_setting(runs: Sequence[Run]) -> list[Run]:
    """The first run of each teacher, student and corpus; those without a teacher where no other is."""
    first: dict[tuple[str | None, str, str], Run] = {}
    for run in runs:
        first.setdefault((run.settings["teacher"], *run.setting), run)
    taught = {run.setting for run in first.values() if run.teacher}
    return [run for run in first.values() if run.teacher or run.setting not in taught]


def _reach(values: Sequence[float], digits: int) -> str:
    """From the smallest to the largest."""
    low, high = number(min(values), digits), number(max(values), digits)
    return low if low == high else f"{low} to {high}"


def _short(verdicts: set[str]) -> str:
    words = {
        "better": "Yes",
        "worse": "No",
        "mixed": "It depends",
        "not shown": "That cannot be seen",
    }
    return words.get(_common(verdicts), "Not measured")


def _common(verdicts: set[str]) -> str:
    if len(verdicts) > 1:
        return "mixed"
    return next(iter(verdicts), "")
