"""What the report says of one run, for its model card: the run beside its teacher and its student
before training, its difference from plain fine-tuning, and benchmarks.

Everything is read from the files of the report and written as its page writes it, so that card and
report cannot differ.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bld.reporting.words import (
    METRIC_WORDS,
    TEACHER,
    UNTRAINED,
    VERDICTS,
    number,
    precision,
    signed,
)

REFERENCES = {TEACHER: ("teacher", "Teacher"), UNTRAINED: ("student", "Student before training")}
"""The series of the report that are no runs: where the summary of a run names their models, and
what a card calls them."""
TABLES = ("models", "comparison", "benchmarks")
"""The tables that are read, beside summary.json."""

Row = Mapping[str, str]


class Measured(NamedTuple):
    """A model of the report: what a card calls it, and its rows of the tables."""

    who: str
    model: Row
    benchmarks: Mapping[str, Row]

    @property
    def bits(self) -> str:
        """Bits per byte, as the card writes them."""
        return shown(self.model["bits_per_byte"])

    @property
    def interval(self) -> str:
        """Of the bits per byte."""
        return between(self.model, shown) if self.model["bits_per_byte"] else shown("")

    @property
    def divergence(self) -> str:
        """The Jensen-Shannon divergence from the teacher, as the card writes it."""
        return shown(self.model["byte_jsd"], 4)

    def benchmark(self, name: str) -> str:
        """Value and standard error."""
        row = self.benchmarks.get(name)
        return f"{shown(row['value'])} \u00b1 {shown(row['stderr'])}" if row else shown("")


class Difference(NamedTuple):
    """The run less SFT by one measure, as a card shows it; `runs` are those that were averaged."""

    measure: str
    value: str
    interval: str
    verdict: str
    runs: str


class Results(NamedTuple):
    """All that the report has on a run: itself, those beside it (teacher, student before training),
    its differences from SFT, and how much it was evaluated on."""

    run: Measured
    others: Sequence[Measured]
    differences: Sequence[Difference]
    documents: int | None
    bytes: int | None
    divergence_documents: int | None

    @property
    def models(self) -> list[Measured]:
        """The run comes last."""
        return [*self.others, self.run]

    @property
    def benchmarks(self) -> Mapping[str, Row]:
        """The rows of the run's model, by benchmark."""
        return self.run.benchmarks


def read_results(report: Path, run: str) -> Results:
    """What the report in this folder says of a run.

    Raises ValueError, naming the file, if the report does not have it.
    """
    summary = json.loads((report / "summary.json").read_text(encoding="utf-8"))
    told = {one["run"]: one for one in summary["runs"]}
    if run not in told:
        raise ValueError(
            f"{report}/summary.json: expected the run {run!r} and found {', '.join(told)}; make "
            "the report again"
        )
    about = told[run]
    models, comparisons, benchmarks = (_table(report / f"{table}.csv") for table in TABLES)
    [own] = [row for row in models if row["model"] == run and row["series"] not in REFERENCES]
    others = [
        _measured(heading, row, benchmarks)
        for series, (whose, heading) in REFERENCES.items()
        for row in models
        if (row["series"], row["model"], row["corpus"]) == (series, about[whose], own["corpus"])
    ]
    found = about["tasks"]
    return Results(
        run=_measured("This model", own, benchmarks),
        others=others,
        differences=[
            _difference(row)
            for row in comparisons
            if row["against"] == "sft" and run in row["models"].split()
        ],
        documents=found.get("bits_per_byte", {}).get("documents"),
        bytes=found.get("bits_per_byte", {}).get("bytes"),
        divergence_documents=found.get("byte_divergence", {}).get("documents"),
    )


def shown(text: str, digits: int = 3) -> str:
    """A number of a table as the report's page writes it; a dash where there is none."""
    return number(float(text) if text else None, digits)


def between(row: Row, show: Callable[[str], str]) -> str:
    """The bounds of a row's 95 % interval."""
    if not row["low"]:
        return "unknown from so few groups"
    return f"{show(row['low'])} to {show(row['high'])}"


def _measured(who: str, row: Row, benchmarks: Sequence[Row]) -> Measured:
    same = (row["model"], row["series"])
    own = {one["benchmark"]: one for one in benchmarks if (one["model"], one["series"]) == same}
    return Measured(who, row, own)


def _difference(row: Row) -> Difference:
    values = [float(row[name]) for name in ("difference", "low", "high") if row[name]]
    digits = precision(*values)

    def show(text: str) -> str:
        return signed(float(text), digits)

    return Difference(
        METRIC_WORDS.get(row["metric"], row["metric"]),
        show(row["difference"]),
        between(row, show),
        VERDICTS[row["verdict"]],
        f"{row['models']} less {row['against_models']}",
    )


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
