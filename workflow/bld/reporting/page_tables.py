"""The tables of the page: which rows and columns of each CSV file it shows, and how."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial

import pandas as pd
from markupsafe import Markup

from bld.reporting import cache_tables
from bld.reporting.cells import (
    FOUR,
    INTEGER,
    ONE,
    PERCENT_2,
    TWO,
    Cell,
    Cells,
    Column,
    PageTable,
    Row,
    Show,
    sort_key,
    text_cell,
    text_column,
)
from bld.reporting.comparison import Comparison
from bld.reporting.series import label
from bld.reporting.tables import Tables
from bld.reporting.words import (
    ALL,
    BITS,
    DIVERGENCE,
    GIBIBYTE,
    METRIC_WORDS,
    NO_VALUE,
    REFERENCES,
    VERDICTS,
    number,
    percent,
    precision,
    signed,
)

DIFFERENCE = ("difference_low", "difference_high")
COSTS: dict[str, tuple[str, Show]] = {
    "train_seconds": ("Seconds", INTEGER),
    "train_tokens": ("Tokens", INTEGER),
    "tokens_per_second": ("Tokens per second", INTEGER),
    "gpu_hours": ("GPU-hours", TWO),
    "peak_memory_bytes": ("Memory, GiB", lambda x: number(x / GIBIBYTE, 2)),
    "head_parameters": ("Head, parameters", INTEGER),
}
METHOD = text_column(lambda row: label(row.series))


def page_tables(tables: Tables) -> list[PageTable]:
    """The tables of the page, section by section; those without a row are left out."""
    makers = (
        *(_methods, _models, _comparison, _benchmarks, _alignment, _costs, _heads),
        *(cache_tables.contents, cache_tables.audit, cache_tables.worst, cache_tables.information),
        _settings,
    )
    return [table for make in makers if (table := make(tables)).rows]


def name_of(tables: Tables, comparison: Comparison) -> str:
    """The series; with student, corpus and the runs of SFT where there are several."""
    students, corpora = _several(tables)
    name = label(comparison.series)
    name += f" on {comparison.student}" * students + f" on {comparison.corpus}" * corpora
    alike = [x for _, x in tables.with_baseline if x.subject == comparison.subject]
    baselines = {tuple(model.name for model in x.theirs) for x in alike}
    theirs = " ".join(model.name for model in comparison.theirs)
    return name + f" minus {theirs}" * (len(baselines) > 1)


def _several(tables: Tables) -> tuple[bool, bool]:
    """Whether there are several students, and several corpora."""
    students, corpora = zip(*(run.setting for run in tables.runs), strict=True)
    return len(set(students)) > 1, len(set(corpora)) > 1


def _methods(tables: Tables) -> PageTable:
    cells = Cells(tables.frames, "methods")
    frame = cells.frame
    students, corpora = _several(tables)
    is_twin = frame.duplicated(["series", "student", "corpus"], keep=False)

    def setting(row: Row) -> str:
        names = (
            [row.student] * students
            + [row.corpus] * corpora
            + [row.models] * int(is_twin[row.Index])
        )
        return ", ".join(names)

    def with_interval(row: Row, column: str, show: Show, bounds: tuple[str, str]) -> Cell:
        is_known = pd.notna(frame.at[row.Index, column])
        remark = cells.interval(row.Index, show, bounds) if is_known else ""
        return cells.cell(row.Index, column, show, remark)

    def difference(row: Row) -> Cell:
        digits = precision(row.difference, row.difference_low, row.difference_high)
        return with_interval(row, "difference", partial(signed, digits=digits), DIFFERENCE)

    def cost(name: str) -> tuple[str, Column]:
        times = cells.also(f"{name}_over", TWO, "{} \u00d7")
        has_times = frame[f"{name}_over"].notna()
        remark = lambda row: times(row) if has_times[row.Index] else ""  # noqa: E731
        return COSTS[name][0], cells.column(name, COSTS[name][1], remark)

    return cells.page_table(
        "models",
        "All methods",
        "Means over the seeds of a method, fewest bits per byte first, with 95\u00a0% intervals "
        "over groups of documents. The difference is the method minus SFT on the same documents "
        "and seeds; it is shown where its interval excludes zero. Costs are means over runs, in "
        "small as multiples of SFT on the same kind of device, without scoring the teacher ahead "
        "of training.",
        {
            "Method": text_column(lambda row: label(row.series), setting),
            "Seeds": text_column(lambda row: row.seeds),
            "Bits per byte": lambda row: with_interval(row, BITS, number, ("low", "high")),
            "Minus SFT": difference,
            "Verdict": text_column(lambda row: VERDICTS[row.verdict]),
            **dict(cost(x) for x in COSTS if x in frame and frame[x].fillna(0).any()),
        },
        is_quiet=lambda row: row.verdict == "baseline",
    )


def _models(tables: Tables) -> PageTable:
    cells = Cells(tables.frames, "models")
    frame = cells.frame
    corpora, teachers = (frame[name].nunique() > 1 for name in ("corpus", "teacher"))

    def interval(row: Row) -> Cell:
        is_known = pd.notna(frame.at[row.Index, BITS])
        text = cells.interval(row.Index) if is_known else Markup(NO_VALUE)
        return Cell(text, sort_key(row.low))

    def teacher(row: Row) -> str:
        return row.teacher if teachers and pd.notna(frame.at[row.Index, DIVERGENCE]) else ""

    return cells.page_table(
        "models",
        "All models",
        "Fewer bits per byte are better. The interval is that of the model by itself; change is "
        "from the student before training. By bytes: bits per byte when the model\u2019s tokens "
        "are summed to bytes over all that its tokenizer could have done, on fewer documents; a "
        "teacher that averages models has no tokens of its own, and its bits per byte are of this "
        "kind too. JSD: Jensen\u2013Shannon divergence from the teacher\u2019s byte distributions "
        "in nats. Calibration error: mean difference between confidence and accuracy of the most "
        "probable byte.",
        {
            "Model": text_column(lambda row: row.model + f" on {row.corpus}" * corpora),
            "Method": METHOD,
            "Seed": text_column(lambda row: "" if pd.isna(row.seed) else row.seed),
            "Bits per byte": cells.column(BITS),
            "95\u00a0% interval": interval,
            "Change": cells.column("change", signed),
            "By bytes": cells.column("bits_per_byte_by_bytes"),
            "JSD to teacher": cells.column(DIVERGENCE, FOUR, teacher),
            "Calibration error": cells.column("calibration_error", PERCENT_2),
        },
        is_quiet=lambda row: row.series in REFERENCES,
    )


def _comparison(tables: Tables) -> PageTable:
    cells = Cells(tables.frames, "comparison")
    comparisons = dict(tables.with_baseline)

    def show(row: Row) -> Show:
        return partial(signed, digits=precision(*comparisons[row.Index].difference))

    def by_seed(row: Row) -> str:
        comparison = comparisons[row.Index]
        seeds = zip(comparison.seeds, comparison.by_seed, strict=True)
        return " ".join(f"{seed}:\u00a0{show(row)(difference)}" for seed, difference in seeds)

    return cells.page_table(
        "models",
        "Comparison with SFT",
        "Method minus SFT on the same student, documents and seeds. Fewer bits per byte and less "
        "divergence are better, more right answers are better. Where the interval includes zero, "
        "this data shows no difference.",
        {
            "Method": text_column(
                lambda row: name_of(tables, comparisons[row.Index]), lambda row: row.models
            ),
            "Measure": text_column(lambda row: METRIC_WORDS.get(row.metric, row.metric)),
            "Difference": lambda row: cells.cell(row.Index, "difference", show(row)),
            "95\u00a0% interval": lambda row: Cell(
                cells.interval(row.Index, show(row)), sort_key(row.low)
            ),
            "Verdict": text_column(lambda row: VERDICTS[row.verdict]),
            "By seed": text_column(by_seed),
        },
        rows=cells.frame.loc[list(comparisons)].itertuples(),
        is_quiet=lambda row: row.verdict == "not shown",
    )


def _benchmarks(tables: Tables) -> PageTable:
    cells = Cells(tables.frames, "benchmarks")
    frame = cells.frame
    row_of = {(row.model, row.series, row.benchmark): row for row in frame.itertuples()}
    error = cells.also("stderr", number, "\u00b1\u00a0{}")

    def value(benchmark: str) -> Column:
        def cell(row: Row) -> Cell:
            found = row_of.get((row.model, row.series, benchmark))
            if found is None:
                return Cell(Markup(NO_VALUE), "")
            return cells.cell(found.Index, "value", remark=error(found))

        return cell

    in_template = {name: set(of["chat_template"]) for name, of in frame.groupby("benchmark")}
    about = "; ".join(
        _described(row, in_template[row.benchmark])
        for row in frame.drop_duplicates("benchmark").itertuples()
    )
    harness = ", ".join(sorted(set(frame["harness"])))
    return cells.page_table(
        "benchmarks",
        "All benchmarks",
        f"By lm-evaluation-harness ({harness}), with standard errors. {about}.",
        {
            "Model": text_column(lambda row: row.model),
            "Method": METHOD,
            **{name: value(name) for name in dict.fromkeys(frame["benchmark"])},
        },
        rows=frame.drop_duplicates(["model", "series"]).itertuples(),
        is_quiet=lambda row: row.series in REFERENCES,
    )


def _described(row: Row, in_template: Collection[bool]) -> str:
    """Metric and settings of a benchmark; the tasks of a group may have different numbers of
    examples, and not all models a chat template."""
    counts = row.few_shot.values() if isinstance(row.few_shot, Mapping) else [row.few_shot]
    examples = sorted({int(count) for count in counts if count and not pd.isna(count)})
    return (
        f"{row.benchmark}: {row.metric}, n\u00a0=\u00a0{row.documents:,}"
        + f", {' or '.join(map(str, examples))} examples" * bool(examples)
        + ", in the chat template" * any(in_template)
        + " of models that have one" * (len(in_template) > 1)
        + ", lower is better" * (row.higher_is_better is False)
    )


def _alignment(tables: Tables) -> PageTable:
    cells = Cells(tables.frames, "alignment")
    return cells.page_table(
        "tokenizers",
        "Alignment of tokens",
        "Aligned tokens are those of the student, on held-out documents, that spell exactly the "
        "bytes of one teacher token; one-to-one learns from these alone, and the others are left "
        "over for methods that compare bytes, chunks of tokens, or mapped vocabularies. Common "
        "boundaries are bytes at which tokens of both models end, and a chunk reaches from one to "
        "the next. Common entries stand in both vocabularies.",
        {
            "Student and teacher": text_column(
                lambda row: f"{row.student} and {row.teacher}", lambda row: f"on {row.corpus}"
            ),
            "Documents": cells.column("documents", INTEGER),
            "Aligned tokens": cells.column("aligned_of_student", percent),
            "Left over": cells.column("left_over", percent),
            "Common boundaries": cells.column("boundary_share", percent),
            "Bytes per chunk": cells.column("bytes_per_chunk", ONE),
            "Common entries": cells.column("shared_entries", INTEGER),
            "of the student": cells.column("shared_of_student", percent),
            "of the teacher": cells.column("shared_of_teacher", percent),
        },
    )


def _costs(tables: Tables) -> PageTable:
    cells = Cells(tables.frames, "costs")
    return cells.page_table(
        "training",
        "Costs",
        "Seconds, tokens and GPU-hours are of warm-up and distillation together, tokens per second "
        "of distillation alone. Memory is the peak, on the GPU where there is one.",
        {
            "Run": text_column(lambda row: row.run),
            "Method": METHOD,
            **{
                heading: cells.column(name, show)
                for name, (heading, show) in COSTS.items()
                if name != "gpu_hours" or cells.frame[name].any()
            },
        },
    )


def _heads(tables: Tables) -> PageTable:
    cells = Cells(tables.frames, "divergence")
    frame = cells.frame

    def of_model(column: str, show: Show) -> Column:
        """The model itself at the bytes that its head sees."""
        rows = frame[(frame["of"] == "model") & (frame["by"] == "head")]
        index = {(row.model, row.series): row.Index for row in rows.itertuples()}
        return lambda row: cells.cell(index[row.model, row.series], column, show)

    return cells.page_table(
        "bytes",
        "Byte heads and their models",
        "Predictions of the byte head for the first ten bytes of every token, and those of the "
        "model\u2019s own tokens summed to the same bytes. Heads are for training: the resulting "
        "student has none.",
        {
            "Run": text_column(lambda row: row.model),
            "JSD of the head": cells.column("jsd", FOUR),
            "JSD of the model": of_model("jsd", FOUR),
            "Bits per byte of the head": cells.column("student_bits_per_byte"),
            "of the model": of_model("student_bits_per_byte", number),
            "Bytes": cells.column("symbols", INTEGER),
        },
        rows=frame[(frame["of"] == "head") & (frame["by"] == ALL)].itertuples(),
    )


def _settings(tables: Tables) -> PageTable:
    """A row for each value of a setting with the runs that have it."""
    rows = []
    for setting, of_setting in tables.frames["settings"].groupby("setting", sort=False):
        for value, of_value in of_setting.groupby(of_setting["value"].map(str), sort=False):
            is_everywhere = len(of_value) == len(tables.runs)
            names = "all" if is_everywhere else ", ".join(of_value["run"])
            rows.append((is_everywhere, [text_cell(setting), text_cell(value), text_cell(names)]))
    return PageTable(
        "settings",
        "settings",
        "Settings of the runs",
        "Settings that differ from the defaults of a run; config/README.md explains each. Student, "
        "teacher, corpus and seed stand in the tables above.",
        ["Setting", "Value", "Runs"],
        rows,
    )
