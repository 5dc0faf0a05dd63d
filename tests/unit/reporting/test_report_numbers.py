"""Every number on the page stands in a CSV file, in the cell that it names."""

import csv
import math
import re
from functools import cache

import pandas as pd
import pytest

from bld.reporting.cells import Cells
from bld.reporting.words import listed, number, percent, precision, signed

SCALES = {"peak_memory_bytes": 2.0**30}


@cache
def cells(folder, file):
    with open(folder / file, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def read_back(text):
    """The number that a person reads, and how many decimals it has."""
    plain = re.sub(r"\s", "", text.replace("\u2212", "-"))
    is_share = plain.endswith("%")
    plain = plain.removesuffix("%")
    assert re.fullmatch(r"[+-]?\d+(\.\d+)?", plain), text
    return float(plain), len(plain.partition(".")[2]), is_share


def test_every_number_is_the_one_in_the_cell_that_it_names(whole):
    numbers = whole.all("data")
    assert len(numbers) > 250
    for one in numbers:
        text = cells(whole.folder, one.get("data-csv"))[int(one.get("data-row"))][
            one.get("data-column")
        ]
        assert float(text) == float(one.get("value")), one.attrib


def test_every_number_is_shown_as_it_is_rounded_to_its_digits(whole):
    for one in whole.all("data"):
        column, exact = one.get("data-column"), float(one.get("value"))
        shown, digits, is_share = read_back("".join(one.itertext()))
        scaled = exact * (100 if is_share else 1) / SCALES.get(column, 1)
        assert abs(shown - scaled) <= 0.5 * 10**-digits * (1 + 1e-9), one.attrib


def test_no_number_in_a_column_of_numbers_escapes_the_net(whole):
    held = 0
    for cell in whole.by_class("number"):
        if cell.tag == "td" and re.search(r"\d", whole.words(cell)):
            traced = [whole.words(one) for one in cell.iter("data")]
            rest = whole.words(cell)
            for text in traced:
                rest = rest.replace(text, "", 1)
            held += 1
            assert traced and not re.search(r"\d", rest), whole.words(cell)
    assert held > 200


def test_no_number_of_a_sentence_at_a_glance_escapes_the_net(whole):
    allowed = re.compile(r"95 %|this page makes \d+|warnings: \d+")
    for sentence in (one for article in whole.all("article") for one in article.findall("p")[1:]):
        rest = whole.words(sentence)
        for one in sentence.iter("data"):
            rest = rest.replace(whole.words(one), "", 1)
        assert not re.search(r"\d", allowed.sub("", rest)), rest


def test_differences_by_seed_are_those_of_the_csv_file(whole):
    rows = [row for row in cells(whole.folder, "comparison.csv") if row["against"] == "sft"]
    shown = [row[-1] for row in whole.table("comparison")]
    assert len(rows) == len(shown) > 4
    for row, text in zip(rows, shown, strict=True):
        pairs = zip(row["seeds"].split(), row["difference_by_seed"].split(), strict=True)
        for seed, value in pairs:
            (found,) = re.findall(rf"\b{seed}: (\S+)", text)
            shown_value, digits, _ = read_back(found)
            assert abs(shown_value - float(value)) <= 0.5 * 10**-digits


def test_short_answers_are_those_of_the_csv_file(whole):
    rows = [
        row
        for row in cells(whole.folder, "comparison.csv")
        if row["against"] == "sft" and row["metric"] == "bits_per_byte"
    ]
    answers = whole.answers()
    gains = [-float(row["difference"]) for row in rows if row["verdict"] != "not shown"]
    short, _ = answers["What did distillation add over SFT?"]
    assert short == f"Up to {max(gains):.2f} fewer bits per byte"
    short, _ = answers["At what cost?"]
    assert {f"{float(row['seconds_over']):.2f}" for row in rows} == {short.split()[0]}


def test_the_mean_surprise_of_a_passage_is_that_of_the_csv_file(whole):
    rows = cells(whole.folder, "surprise.csv")
    for caption in whole.all("figcaption"):
        found = re.fullmatch(r"(\S+) .*: (\S+) bits a byte", whole.words(caption))
        if found:
            model, mean = found.groups()
            own = [row for row in rows if row["model"] == model]
            size = sum(len(row["text"].encode()) for row in own)
            assert f"{sum(float(row['bits']) for row in own) / size:.2f}" == mean


def test_the_sorted_value_of_a_cell_is_the_one_that_it_shows(whole):
    for cell in whole.by_class("number"):
        numbers = list(cell.iter("data"))
        if cell.tag == "td" and numbers:
            assert float(cell.get("data-key")) == float(numbers[0].get("value"))
        elif cell.tag == "td":
            assert cell.get("data-key") == ""


@pytest.mark.parametrize(
    "value, digits, text",
    [
        (0.12345, 3, "0.123"),
        (-0.5, 2, "\u22120.50"),
        (1234567.0, 0, "1\u2009234\u2009567"),
        (None, 3, "\u2013"),
        (math.nan, 3, "\u2013"),
    ],
)
def test_numbers_are_written_for_people(value, digits, text):
    assert number(value, digits) == text


def test_a_change_has_its_sign_and_a_share_its_unit():
    assert [signed(0.25), signed(-0.25), signed(0.0), signed(None)] == [
        "+0.250",
        "\u22120.250",
        "0.000",
        "\u2013",
    ]
    assert [percent(0.125), percent(1.0, 0), percent(None)] == [
        "12.5\u00a0%",
        "100\u00a0%",
        "\u2013",
    ]


def test_digits_keep_the_smallest_number_apart_from_zero():
    assert precision(0.5, 0.1) == 3
    assert number(0.00021, precision(0.3, 0.00021)) == "0.0002"
    assert precision(1e-9) == 6
    assert precision(0.0, math.nan) == 3


def test_lists_are_put_in_words():
    assert [listed([]), listed([1]), listed([1, 2]), listed("abc")] == [
        "",
        "1",
        "1 and 2",
        "a, b and c",
    ]


def test_names_in_a_cell_of_a_source_are_escaped():
    cells = Cells({'"><b>': pd.DataFrame({"<i>": [1.5, None]})}, '"><b>')
    assert not {"<b>", "<i>"} & set(re.findall("<.>", cells.traced(0, "<i>")))
    assert cells.traced(1, "<i>") == "\u2013"
