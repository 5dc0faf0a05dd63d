import math
import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from bld.reporting.registry import all_figures
from bld.reporting.report_page import build_report

TABLES = [
    *("models", "methods", "comparison", "ranks", "benchmarks", "alignment", "costs"),
    *("bits_per_byte", "loss", "divergence", "calibration", "settings", "completions", "surprise"),
    *("caches", "audit", "audit_worst", "information"),
]
HOSTILE = '<script>alert(1)</script>&"\'$x_$ id="p'
COLUMNS = {
    "models": 9,
    "methods": 9,
    "comparison": 6,
    "benchmarks": 4,
    "costs": 8,
    "divergence": 6,
    "settings": 3,
    "alignment": 9,
    "caches": 9,
    "audit": 7,
    "audit_worst": 5,
    "information": 4,
}


def test_the_same_inputs_give_the_same_bytes(whole, tmp_path):
    build_report(whole.runs, whole.caches, list(all_figures()), "Byte-level distillation", tmp_path)
    first, again = (
        {path.name: path.read_bytes() for path in folder.iterdir()}
        for folder in (whole.folder, tmp_path)
    )
    assert first == again


def test_a_report_is_a_page_a_summary_and_the_files_behind_its_tables_and_figures(whole):
    assert {path.name for path in whole.folder.iterdir()} == {
        "index.html",
        "summary.json",
        *(f"{name}.csv" for name in TABLES),
        *(f"{name}.{ending}" for name in all_figures() for ending in ("svg", "rst")),
    }


def test_the_page_has_one_first_heading_and_skips_no_level(whole):
    levels = [int(one.tag[1]) for one in whole.all(*(f"h{level}" for level in range(1, 7)))]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_section_has_a_heading_and_a_place_in_the_list_of_sections(whole):
    headings = {one.get("id") for one in whole.all("h2")}
    assert {one.get("aria-labelledby") for one in whole.all("section")} == headings
    (nav,) = whole.all("nav")
    assert {one.get("href") for one in nav.iter("a")} == {
        f"#{one}" for one in headings - {"glance"}
    }


def test_every_drawing_says_in_words_what_it_shows(whole):
    drawings = whole.all("svg")
    assert len(drawings) == len(all_figures()) and not whole.all("img")
    assert all(one.get("role") == "img" and len(one.get("aria-label")) > 20 for one in drawings)
    assert len({one.get("aria-label") for one in drawings}) == len(drawings)


def test_every_drawing_has_its_heading_its_caption_and_its_files(whole):
    figures = [one for one in whole.all("figure") if one.find(".//svg") is not None]
    found = {}
    for figure in figures:
        (caption,) = figure.iter("figcaption")
        found[whole.words(figure.find("h3"))] = (
            whole.words(caption),
            [link.get("href") for link in caption.iter("a")],
        )
    assert found == {
        figure.title: (
            f"{figure.caption} SVG" + " CSV" * len(figure.tables),
            [f"{name}.svg", *(f"{table}.csv" for table in figure.tables)],
        )
        for name, figure in all_figures().items()
    }


def test_every_table_has_a_caption_and_scoped_headers(whole):
    tables = whole.all("table")
    assert {one.get("id").removeprefix("table-") for one in tables} == COLUMNS.keys()
    for table in tables:
        name = table.get("id").removeprefix("table-")
        assert len(whole.words(table.find("caption"))) > 30
        assert [link.get("href") for link in table.find("caption").iter("a")] == [f"{name}.csv"]
        assert all(header.get("scope") == "col" for header in table.find("thead").iter("th"))
        assert all(header.get("scope") == "row" for header in table.find("tbody").iter("th"))


def test_tables_are_tidy_and_every_column_can_be_sorted(whole):
    for table in whole.all("table"):
        name = table.get("id").removeprefix("table-")
        headings = list(table.find("thead").iter("th"))
        rows = table.find("tbody").findall("tr")
        assert rows and len(headings) == COLUMNS[name]
        assert all(whole.words(one.find("button")) for one in headings)
        for row in rows:
            cells = list(row)
            assert len(cells) == len(headings)
            assert all(cell.get("data-key") is not None for cell in cells)
            kinds = ["number" in cell.get("class", "") for cell in cells]
            assert kinds == ["number" in one.get("class", "") for one in headings]
            for cell, is_number in zip(cells, kinds, strict=True):
                assert (
                    not is_number
                    or cell.get("data-key") == ""
                    or math.isfinite(float(cell.get("data-key")))
                )


def test_tables_that_are_wider_than_a_phone_can_be_scrolled_by_keyboard(whole):
    for table in whole.all("table"):
        (frame,) = [one for one in whole.by_class("scroll") if table in list(one)]
        assert (frame.get("tabindex"), frame.get("role")) == ("0", "group")
        assert frame.get("aria-label").startswith("Table: ")


def test_ids_are_unique_and_references_resolve(whole):
    ids = [one.get("id") for one in whole.root.iter() if one.get("id")]
    assert len(ids) == len(set(ids))
    references = re.findall(r"url\(#([^)]+)\)", whole.source)
    for one in whole.root.iter():
        references += (one.get("aria-labelledby") or "").split()
        for name in ("href", "xlink:href"):
            if one.get(name, "").startswith("#"):
                references.append(one.get(name)[1:])
    assert len(references) > 50
    assert set(references) <= set(ids)


def test_the_page_loads_nothing_and_links_only_to_its_neighbours(whole):
    assert not whole.all("link", "iframe", "object", "embed", "image", "img", "base", "form")
    for one in whole.root.iter():
        for name in ("src", "srcset", "data", "poster", "action"):
            assert name not in one.attrib
        assert not any(name.startswith("on") for name in one.attrib)
        target = one.get("href", one.get("xlink:href", "#"))
        assert target.startswith("#") or (whole.folder / target).is_file()
    assert "@import" not in whole.source
    assert all(url.startswith("#") for url in re.findall(r"url\(([^)]*)\)", whole.source))
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", whole.source)
    assert re.findall(r"https?://[^\"'\s)]+", without_names) == []
    (script,) = whole.all("script")
    assert not re.search(r"fetch|XMLHttp|import|WebSocket|eval", script.text)


def test_every_file_of_data_is_linked(whole):
    links = {one.get("href") for one in whole.all("a")}
    unlinked = {path.name for path in whole.folder.iterdir() if path.suffix != ".rst"} - links
    assert unlinked == {"index.html"}


def test_names_and_texts_are_escaped_wherever_they_appear(build, factory):
    names = {"student": HOSTILE, "teacher": HOSTILE, "corpus": HOSTILE}
    runs = [factory.run("sft-1", **names), factory.run(HOSTILE, "bld", **names)]
    runs[1] = replace(runs[1], changed={HOSTILE: {"inner": HOSTILE}})
    said = {"prompt": HOSTILE, "completion": HOSTILE, "ended": True}
    for run in runs:
        for whose in ("run", "student", "teacher"):
            size = len(HOSTILE.encode())
            passage = {"id": HOSTILE, "kind": HOSTILE, "text": HOSTILE, "bits": [3.0] * size}
            text, renamed = run.files[f"{whose}/text"], run.files[f"{whose}/prose"]
            factory.edit(text, completions=[said], passage=passage)
            factory.edit(renamed, metric=HOSTILE, harness={"lm_eval": HOSTILE}, limit=9)
            run.files[f"{whose}/{HOSTILE}"] = run.files.pop(f"{whose}/prose")
    worst = {"id": HOSTILE, "kind": HOSTILE, "jsd": 0.1, "worst_jsd": 0.2, "before": HOSTILE}
    caches = [factory.cache(HOSTILE, audit={"worst": [worst | {"symbol": HOSTILE}]})]
    caches.append(factory.cache("other"))
    caches[1].files["audit"].unlink()
    runs[0].files["metrics"].unlink()
    page = build(*runs, caches=caches, title=HOSTILE, figures=all_figures())
    (script,) = page.all("script")
    assert "alert" not in script.text
    assert page.source.count("<script") == 1
    assert page.words(page.root.find(".//title")) == page.words(page.all("h1")[0]) == HOSTILE
    assert "".join(page.by_class("passage")[0].itertext()) == HOSTILE
    # The table of methods names none of these where there is one student and one corpus.
    for name in COLUMNS.keys() - {"information", "audit", "divergence", "methods"}:
        assert any(HOSTILE in cell for row in page.table(name) for cell in row), name
    assert not any(one.get("id") == "p" for one in page.root.iter())
    drawings = list(page.folder.glob("*.svg"))
    assert len(drawings) > 8
    for drawing in drawings:
        ElementTree.fromstring(drawing.read_text(encoding="utf-8"))
        assert "<script" not in drawing.read_text(encoding="utf-8")


def test_settings_stand_on_the_page_by_their_dotted_names_with_the_runs_that_have_them(
    build, factory
):
    runs = [factory.run("sft-1"), factory.run("bld-1", "bld")]
    runs[1] = replace(runs[1], changed={"training": {"steps": 60}, "bld": {"head": "linear"}})
    assert build(*runs).table("settings") == [
        ["training.steps", "60", "all"],
        ["training.learning_rate", "0.0005", "sft-1"],
        ["bld.head", "linear", "bld-1"],
    ]


def test_reference_rows_and_differences_that_are_not_shown_are_quiet(whole):
    quiet = {
        table.get("id"): [
            whole.words(row[0]) for row in table.iter("tr") if row.get("class") == "quiet"
        ]
        for table in whole.all("table")
    }
    assert quiet["table-models"] == quiet["table-benchmarks"] == ["large", "small"]
    verdicts = [(row[-2], row[0]) for row in whole.table("comparison")]
    not_shown = [name for verdict, name in verdicts if verdict == "no difference shown"]
    assert quiet["table-comparison"] == not_shown


@pytest.mark.parametrize(
    ("without", "words"),
    [("", "template; prose"), ("student", "template of models that have one;")],
)
def test_a_benchmark_is_described_above_its_table(build, factory, without, words):
    run = factory.run("sft-1")
    shots = {"recall_a": 0, "recall_b": 5, "recall_c": 2}
    for whose in ("run", "student", "teacher"):
        path = run.files[f"{whose}/recall"]
        in_template = whose != without
        factory.edit(
            path, few_shot=shots, chat_template=in_template, higher_is_better=None, stderr=None
        )
    page = build(run, figures=["benchmarks"])
    (caption,) = [one for one in page.all("caption") if "By lm-evaluation" in page.words(one)]
    said = page.words(caption)
    assert f"recall: acc, n = 120, 2 or 5 examples, in the chat {words}" in said
    assert "prose: bits_per_byte, n = 200, 3 examples, lower is better." in said
    svg = (page.folder / "benchmarks.svg").read_text()
    assert "recall: acc<" in svg and "prose: bits_per_byte, lower is better<" in svg


def test_nothing_is_written_where_runs_cannot_be_compared(factory, tmp_path):
    twins = [factory.run("bld-1", "bld"), factory.run("bld-2", "bld")]
    with pytest.raises(ValueError):
        build_report(twins, [], [], "A title", tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_no_half_written_file_stays_behind(whole):
    assert not [path for path in whole.folder.iterdir() if path.suffix == ".partial"]
