"""Ten numbers of the demo's page, drawn anew every time: each is found in its CSV file, and worked
out again from the files that the runs left behind."""

import csv
import json
import math
import random
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t

TASKS = {"bits_per_byte": "bits_per_byte", "byte_jsd": "byte_divergence"}
SCALES = {"%": 100, "": 1}


class Numbers(HTMLParser):
    """The numbers of a page with the places that they come from."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "data":
            self.open = dict(attributes) | {"text": ""}
            self.found.append(self.open)

    def handle_endtag(self, tag):
        if tag == "data":
            self.open = None

    def handle_data(self, data):
        if self.open is not None:
            self.open["text"] += data


@pytest.fixture(scope="module")
def numbers(demo):
    page = demo.folder / "results/report/index.html"
    return Numbers(page.read_text(encoding="utf-8")).found


def rows(demo, file):
    with (demo.folder / "results/report" / file).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def evaluation(demo, model, task):
    """What was measured of a model, by the name that it has on the page."""
    results, where = demo.folder / "results", "python_docs/validation"
    own = task not in ("bits_per_byte", "byte_divergence")
    folder = {
        "demo": results / "evaluation/teachers/demo" / ("" if own else where),
        "swapped": results / "evaluation/students/swapped" / ("" if own else where),
    }.get(model, results / "runs" / model / "evaluation")
    if (model, task) == ("swapped", "byte_divergence"):
        folder /= "demo"
    return json.loads((folder / f"{task}.json").read_text())


def by_document(demo, model, metric):
    """(total, size, group) of each document; the ratio of their sums is the metric."""
    found = evaluation(demo, model, TASKS.get(metric, metric))["per_document"]
    total = {"bits_per_byte": "nats", "byte_jsd": "jsd"}.get(metric, "value")
    size = {"byte_jsd": "symbols"}.get(metric, "bytes")
    in_bits = size in found[0] and metric != "byte_jsd"
    unit = math.log(2) if in_bits else 1
    return {x["id"]: (x[total] / unit, x.get(size, 1), x["group"]) for x in found}


def of_documents(column, found):
    """The ratio of the sums, or a bound of its interval by a bootstrap of our own; and how exact
    that is."""
    frame = pd.DataFrame(found, columns=["total", "size", "group"])
    pairs_G2 = frame.groupby("group").sum().to_numpy(float)
    if column not in ("low", "high"):
        total, size = pairs_G2.sum(0)
        return total / size, 1e-9
    drawn_RG = np.random.default_rng(7).integers(0, len(pairs_G2), (3000, len(pairs_G2)))
    totals_R, sizes_R = (pairs_G2[drawn_RG, part].sum(1) for part in (0, 1))
    # Expanded as Hesterberg has it (arXiv 1411.5279), which counts where groups are few.
    groups = len(pairs_G2)
    tail = norm.cdf(t.ppf(0.025, groups - 1) * math.sqrt(groups / (groups - 1)))
    low, high = np.quantile(totals_R / sizes_R, [tail, 1 - tail])
    return {"low": low, "high": high}[column], 0.15 * (high - low) + 1e-9


def worked_out(demo, table, row, column):
    """A number from the files of the runs, and how far it may be from that of the CSV."""
    if table == "models":
        if column in ("bits_per_byte", "low", "high"):
            return of_documents(
                column, [*by_document(demo, row["model"], "bits_per_byte").values()]
            )
        if column == "change":
            ours, before = (
                of_documents("", [*by_document(demo, name, "bits_per_byte").values()])[0]
                for name in (row["model"], "swapped")
            )
            return ours - before, 1e-9
        whose = "teacher" if row["model"] == "demo" else "student"
        divergence = evaluation(
            demo, "sft" if whose == "teacher" else row["model"], "byte_divergence"
        )
        if column == "byte_jsd":
            return of_documents("", [*by_document(demo, row["model"], "byte_jsd").values()])
        if column == "calibration_error":
            bins = divergence["models"][whose]["calibration"]
            gaps = sum(x["symbols"] * abs(x["accuracy"] - x["confidence"]) for x in bins)
            return gaps / divergence["symbols"], 1e-9
        documents = divergence["per_document"]
        nats = sum(x["nats"][whose] for x in documents) / math.log(2)
        return nats / sum(x["bytes"] for x in documents), 1e-9
    if table == "comparison" and column.endswith("_over"):
        cost = {"seconds_over": "train_seconds", "memory_over": "peak_memory_bytes"}[column]
        ours, theirs = (training(demo, row[name])[cost] for name in ("models", "against_models"))
        return ours / theirs, 1e-9
    if table == "comparison":
        ours, theirs = (
            by_document(demo, row[name], row["metric"]) for name in ("models", "against_models")
        )
        return of_documents(column, [(ours[x][0] - theirs[x][0], *ours[x][1:]) for x in ours])
    if table == "benchmarks" and column == "value":
        return of_documents("", [*by_document(demo, row["model"], row["benchmark"]).values()])
    if table == "benchmarks":
        return evaluation(demo, row["model"], row["benchmark"])["stderr"], 1e-12
    return training(demo, row["run"])[column], 1e-12


def training(demo, run):
    return json.loads((demo.folder / "results/runs" / run / "training.json").read_text())


def test_ten_numbers_of_the_page_are_those_of_the_csv_files_and_of_the_runs(demo, numbers):
    tables = ("models", "comparison", "benchmarks", "costs")
    from_runs = [x for x in numbers if x["data-csv"].removesuffix(".csv") in tables]
    assert len(from_runs) > 100
    seed = random.randrange(10**6)
    for number in random.Random(seed).sample(from_runs, 10):
        about = f"seed {seed}: {number}"
        row = rows(demo, number["data-csv"])[int(number["data-row"])]
        value = float(number["value"])
        assert float(row[number["data-column"]]) == value, about
        expected, at_most = worked_out(
            demo, number["data-csv"].removesuffix(".csv"), row, number["data-column"]
        )
        assert value == pytest.approx(expected, abs=at_most), about


def test_every_number_of_the_page_is_its_cell_rounded(demo, numbers):
    files = {}
    for number in numbers:
        file = number["data-csv"]
        row = files.setdefault(file, rows(demo, file))[int(number["data-row"])]
        assert float(row[number["data-column"]]) == float(number["value"]), number
        text = number["text"].replace("\u2009", "").replace("\u2212", "-").replace("\u00a0", "")
        digits, unit = re.fullmatch(r"\+?(-?[\d.]+)(%?)", text).groups()
        scale = 2**-30 if number["data-column"] == "peak_memory_bytes" else SCALES[unit]
        decimals = len(digits.partition(".")[2])
        # A sentence says "fewer" where the difference is negative.
        shown, value = abs(float(digits)), abs(float(number["value"]) * scale)
        assert abs(shown - value) <= 0.5 * 10**-decimals * (1 + 1e-9), number
