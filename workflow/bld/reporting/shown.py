"""The tables of the page: which rows and columns of which CSV file a reader gets to see, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pandas as pd
from markupsafe import Markup

from bld.reporting.cells import Cell, Shown, number_cell, sort_key, text_cell
from bld.reporting.comparison import BITS, DIVERGENCE
from bld.reporting.inputs import REFERENCES
from bld.reporting.method_table import method_table
from bld.reporting.numbers import GIBIBYTE, NO_VALUE, number, percent, precision, signed
from bld.reporting.rows import ALL
from bld.reporting.series import BASELINE, label
from bld.reporting.source import Source
from bld.reporting.tables import Tables
from bld.reporting.teacher_bytes import DISTRIBUTIONS
from bld.reporting.words import METRIC_WORDS, VERDICTS
from bld.symbols import HEAD_BYTES


def shown_tables(tables: Tables, source: Source) -> Mapping[str, Shown | None]:
    """All tables of the page by name; none where there would be no row."""
    makers = (
        _models,
        method_table,
        _comparison,
        _benchmarks,
        _heads,
        _costs,
        _settings,
        _audit,
        _worst,
        _information,
    )
    found = [make(tables, source) for make in makers]
    return {one.name: one if one.rows else None for one in found}


def _models(tables: Tables, source: Source) -> Shown:
    frame = source.frames["models"]
    several = frame["corpus"].nunique() > 1
    teachers = frame["teacher"].nunique() > 1
    cell = partial(number_cell, source, "models")
    rows = []
    for row in frame.itertuples():
        at = row.Index
        measured = not pd.isna(frame.at[at, BITS])
        bounds = source.interval("models", at, number, "\u2013") if measured else Markup(NO_VALUE)
        cells = [
            text_cell(row.model + (f" on {row.corpus}" if several else "")),
            text_cell(label(row.series)),
            text_cell("" if pd.isna(row.seed) else row.seed),
            cell(at, BITS),
            Cell(bounds, sort_key(row.low)),
            cell(at, "change", signed),
            cell(at, "bits_per_byte_by_bytes"),
            _remarked(
                cell(at, DIVERGENCE, lambda x: number(x, 4)), row.teacher if teachers else None
            ),
            cell(at, "calibration_error", lambda x: percent(x, 2)),
        ]
        rows.append((row.series in REFERENCES, cells))
    return Shown(
        "models",
        "All models",
        "Fewer bits per byte are better. The interval is that of the model by itself; change is from the student before "
        "training. By bytes: what the text costs when the model\u2019s tokens are summed to bytes over all that its "
        "tokenizer could have done, on fewer documents; for a teacher that averages models, which has no tokens of its own, "
        "bits per byte are such too. JSD: distance to the teacher\u2019s byte distributions in nats. "
        "Calibration error: by how much the model is wrong about how often its most probable byte comes.",
        ["Model", "Method", "Seed", "Bits per byte", "95\u00a0% interval", "Change", "By bytes", "JSD to teacher",
         "Calibration error"],
        rows,
    )  # fmt: skip


def _remarked(value: Cell, remark: str | None) -> Cell:
    """A number with the teacher that it is to, in small, where there are both."""
    if remark is None or value.key == "":
        return value
    return value._replace(text=Markup("{}<small>{}</small>").format(value.text, remark))


def _comparison(tables: Tables, source: Source) -> Shown:
    students, corpora = tables.several
    alike = source.frames["comparison"].groupby(["series", "metric", "student", "corpus"])
    has_several_baselines = alike["against_models"].transform("nunique") > 1
    rows = []
    for at, one in enumerate(tables.comparisons):
        if one.against != BASELINE:
            continue
        show = partial(signed, digits=precision(*one.difference))
        runs = " ".join(model.name for model in one.ours)
        where = f" on {one.student}" * students + f" on {one.corpus}" * corpora
        if has_several_baselines[at]:
            where += " less " + " ".join(model.name for model in one.theirs)
        by_seed = " ".join(
            f"{seed}:\u00a0{show(gap)}" for seed, gap in zip(one.seeds, one.by_seed, strict=True)
        )
        cells = [
            text_cell(f"{label(one.series)}{where}", runs),
            text_cell(METRIC_WORDS.get(one.metric, one.metric)),
            number_cell(source, "comparison", at, "difference", show),
            Cell(source.interval("comparison", at, show), sort_key(one.difference.low)),
            text_cell(VERDICTS[one.verdict]),
            text_cell(by_seed),
        ]
        rows.append((one.verdict == "not shown", cells))
    return Shown(
        "comparison",
        "Against SFT",
        "Method less SFT on the same student, documents and seeds. Fewer bits per byte and less divergence are better, more "
        "right answers are better. Where the interval holds zero, this data shows no difference.",
        ["Method", "Measure", "Difference", "95\u00a0% interval", "Verdict", "By seed"],
        rows,
    )


def _benchmarks(tables: Tables, source: Source) -> Shown:
    frame = source.frames["benchmarks"]
    names = list(dict.fromkeys(frame["benchmark"]))
    rows = []
    for (model, series), found in frame.groupby(["model", "series"], sort=False):
        cells = [text_cell(model), text_cell(label(series))]
        for name in names:
            at = [row.Index for row in found.itertuples() if row.benchmark == name]
            cells.append(_with_error(source, at[0]) if at else Cell(Markup(NO_VALUE), ""))
        rows.append((series in REFERENCES, cells))
    about = frame.drop_duplicates("benchmark").itertuples()
    described = "; ".join(
        f"{one.benchmark}: {one.metric}, n\u00a0=\u00a0{one.documents:,}"
        + _examples(one.few_shot)
        + (", in the chat template" if one.chat_template else "")
        + (", lower is better" if one.higher_is_better is False else "")
        for one in about
    )
    harness = ", ".join(sorted(set(frame["harness"])))
    return Shown(
        "benchmarks",
        "All benchmarks",
        f"By lm-evaluation-harness ({harness}), with standard errors. {described}.",
        ["Model", "Method", *names],
        rows,
    )


def _examples(few_shot: Any) -> str:
    """How many examples stand in front of a question; the tasks of a group may have different numbers."""
    counts = few_shot.values() if isinstance(few_shot, Mapping) else [few_shot]
    known = sorted({int(count) for count in counts if count and not pd.isna(count)})
    return f", {' or '.join(map(str, known))} examples" if known else ""


def _with_error(source: Source, row: int) -> Cell:
    value = source("benchmarks", row, "value")
    error = source("benchmarks", row, "stderr")
    key = source.frames["benchmarks"].at[row, "value"]
    return Cell(Markup("{}<small>\u00b1\u00a0{}</small>").format(value, error), key)


def _heads(tables: Tables, source: Source) -> Shown:
    frame = source.frames["divergence"]
    rows = []
    for at in source.rows("divergence", of="head", by=ALL):
        identity = {name: frame.at[at, name] for name in ("model", "series")}
        own = source.rows("divergence", of="model", by="head", **identity)[0]
        cells = [
            text_cell(frame.at[at, "model"]),
            *(
                number_cell(source, "divergence", row, column, show)
                for column, show in (
                    ("jsd", lambda x: number(x, 4)),
                    ("student_bits_per_byte", number),
                )
                for row in (at, own)
            ),
            number_cell(source, "divergence", at, "symbols", lambda x: number(x, 0)),
        ]
        rows.append((False, cells))
    return Shown(
        "divergence",
        "Byte heads against their models",
        "What the byte head says of the first ten bytes of every token, against what the model\u2019s own tokens say when "
        "they are summed to the same bytes. Heads are for training: the student that comes out has none.",
        [
            "Run",
            "JSD of the head",
            "JSD of the model",
            "Bits per byte of the head",
            "of the model",
            "Bytes",
        ],
        rows,
    )


def _costs(tables: Tables, source: Source) -> Shown:
    frame = source.frames["costs"]
    shows: dict[str, tuple[str, Callable[[float], str]]] = {
        "train_seconds": ("Seconds", lambda x: number(x, 0)),
        "train_tokens": ("Tokens", lambda x: number(x, 0)),
        "tokens_per_second": ("Tokens per second", lambda x: number(x, 0)),
        "gpu_hours": ("GPU-hours", lambda x: number(x, 2)),
        "peak_memory_bytes": ("Memory, GiB", lambda x: number(x / GIBIBYTE, 2)),
        "head_parameters": ("Head, parameters", lambda x: number(x, 0)),
    }
    if not frame["gpu_hours"].any():
        del shows["gpu_hours"]
    rows = [
        (
            False,
            [
                text_cell(row.run),
                text_cell(label(row.series)),
                *(
                    number_cell(source, "costs", row.Index, name, show)
                    for name, (_, show) in shows.items()
                ),
            ],
        )
        for row in frame.itertuples()
    ]
    return Shown(
        "costs",
        "Cost",
        "Seconds, tokens and GPU-hours are of warm-up and distillation together, tokens per second of distillation alone. "
        "Memory is the most that was in use, on the GPU where there is one.",
        ["Run", "Method", *(heading for heading, _ in shows.values())],
        rows,
    )


def _settings(tables: Tables, source: Source) -> Shown:
    frame = source.frames["settings"]
    rows = []
    for setting, found in frame.groupby("setting", sort=False):
        values: dict[str, list[str]] = {}
        for row in found.itertuples():
            values.setdefault(str(row.value), []).append(row.run)
        for value, runs in values.items():
            everywhere = len(runs) == len(tables.runs)
            cells = [
                text_cell(setting),
                text_cell(value),
                text_cell("all" if everywhere else ", ".join(runs)),
            ]
            rows.append((everywhere, cells))
    return Shown(
        "settings",
        "Settings",
        "What differs from the settings that a run has by itself; config/README.md explains each. Student, teacher, corpus and "
        "seed stand in the tables above.",
        ["Setting", "Value", "Runs"],
        rows,
    )


def _audit(tables: Tables, source: Source) -> Shown:
    distances = [
        f"{measure}_{which}" for measure in ("jsd", "total_variation") for which in ("mean", "p99")
    ]
    rows = []
    for row in source.frames["audit"].itertuples():
        cell = partial(number_cell, source, "audit", row.Index)
        cells = [
            text_cell(DISTRIBUTIONS[row.distribution], _cache(row.cache, source)),
            *(cell(name, lambda x: number(x, 5)) for name in distances),
            cell("bits_per_byte", lambda x: number(x, 4)),
            cell("true_byte_lost", lambda x: number(x, 0)),
        ]
        rows.append((row.distribution == "strict", cells))
    return Shown(
        "audit",
        "Audit",
        "Jensen\u2013Shannon divergence (JSD, in nats) and total variation (0 to 1) are distances to the stricter policy; "
        "99\u00a0% of the bytes are nearer than the second figure. Lost bytes are true bytes with a probability below "
        "10\u207b\u2079.",
        [
            "Distribution",
            "JSD",
            "99\u00a0%",
            "Total variation",
            "99\u00a0%",
            "Bits per byte",
            "Lost bytes",
        ],
        rows,
    )


def _worst(tables: Tables, source: Source) -> Shown:
    rows = []
    for row in source.frames["audit_worst"].itertuples():
        place = Markup("<code>{}<mark>{}</mark></code>").format(row.before, row.symbol)
        cells = [
            text_cell(row.id, _cache(row.cache, source)),
            text_cell(row.kind),
            number_cell(source, "audit_worst", row.Index, "jsd", lambda x: number(x, 4)),
            number_cell(source, "audit_worst", row.Index, "worst_jsd", lambda x: number(x, 4)),
            Cell(place, row.before, is_number=False),
        ]
        rows.append((False, cells))
    return Shown(
        "audit_worst",
        "Documents farthest from the stricter policy",
        "Each with the place where the cache is farthest off: the text before it and, marked, the symbol that follows.",
        ["Document", "Kind", "JSD", "Worst", "Where"],
        rows,
    )


def _information(tables: Tables, source: Source) -> Shown:
    rows = []
    for at in source.rows("information", by="position"):
        row = source.frames["information"].loc[at]
        cell = partial(number_cell, source, "information", at)
        cells = [
            text_cell(
                f"{row.bytes}{'+' if row.bytes > HEAD_BYTES else ''}", _cache(row.cache, source)
            ),
            cell("tokens", lambda x: number(x, 0)),
            cell("byte_bits"),
            cell("known", percent),
        ]
        rows.append((False, cells))
    return Shown(
        "information",
        "What bytes tell of a token, byte by byte",
        "Known is the entropy of all bytes up to this one, summed over all tokens, over the entropy of the tokens.",
        ["Byte of the token", "Tokens that reach it", "Entropy of the byte, bits", "Known"],
        rows,
    )


def _cache(name: str, source: Source) -> str:
    """The name of a cache, where there are several."""
    return name if len(source.frames["caches"]) > 1 else ""
