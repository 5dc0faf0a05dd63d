import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from bld.reporting.report import build_report

VOID = {"meta", "link", "br", "hr", "img", "input"}
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '<script>alert(1)</script>&"\'$x_$ id="p'


class Page(HTMLParser):
    """Every element with its attributes, in order; fails on a tag that is not closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def build(tmp_path, factory):
    def built(*runs, title="Byte-level distillation", teacher="large"):
        build_report(runs, [factory.cache(teacher)], title, tmp_path / "report")
        return tmp_path / "report"

    return built


@pytest.fixture
def pair(factory):
    return factory.run("sft-1", level=2.5), factory.run("bld-1", "bld", level=2.4)


def page(folder):
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def test_the_same_inputs_give_the_same_bytes(build, pair, factory, tmp_path):
    first = {path.name: path.read_bytes() for path in build(*pair).iterdir()}
    build_report(pair, [factory.cache()], "Byte-level distillation", tmp_path / "again")
    again = {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    assert first == again
    assert first.keys() == {
        "index.html", "summary.json", "runs.csv", "comparison.csv", "loss.csv", "bits_per_byte.csv",
        "loss.svg", "bits_per_byte.svg", "bits_per_byte_by_kind.svg",
        "audit.csv", "information.csv", "information.svg",
    }  # fmt: skip


def test_the_page_has_one_first_heading_and_skips_no_level(build, pair):
    levels = [int(tag[1]) for tag, _ in page(build(*pair)).elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_drawing_says_in_words_what_it_shows(build, pair):
    found = page(build(*pair))
    drawings = found.all("svg", "img")
    assert len(drawings) == 4
    assert all(one["role"] == "img" and len(one["aria-label"]) > 20 for one in drawings)
    assert len(found.all("figure")) == len(found.all("figcaption")) == 4


def test_every_table_has_a_caption_and_scoped_headers(build, pair):
    found = page(build(*pair))
    assert len(found.all("table")) == len(found.all("caption"))
    assert all(header["scope"] in ("row", "col") for header in found.all("th"))


def test_ids_are_unique_and_references_resolve(build, pair):
    found = page(build(*pair))
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    text = str(found.elements)
    references = re.findall(r"url\(#([^)]+)\)|'(?:xlink:)?href': '#([^']+)'", text)
    references += [(one,) for one in re.findall(r"'aria-labelledby': '([^']+)'", text)]
    assert references
    assert {"".join(reference) for reference in references} <= set(ids)


def test_the_page_loads_nothing_and_links_only_to_its_neighbours(build, pair):
    folder = build(*pair)
    found = page(folder)
    assert not found.all("script", "link", "iframe", "object", "image")
    for _, attributes in found.elements:
        assert "src" not in attributes and "srcset" not in attributes
        target = attributes.get("href", attributes.get("xlink:href", "#"))
        assert target.startswith("#") or (folder / target).is_file()
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert "@import" not in text
    assert all(url.startswith("#") for url in re.findall(r"url\(([^)]*)\)", text))
    namespaces = re.findall(r"https?://[^\"'\s)]+", re.sub(r'xmlns(:\w+)?="[^"]*"', "", text))
    assert namespaces == []


def test_names_are_escaped_wherever_they_appear(build, factory):
    names = {"student": HOSTILE, "teacher": HOSTILE, "corpus": HOSTILE}
    sft = factory.run("sft-1", settings={HOSTILE: HOSTILE}, **names)
    bld = factory.run("bld-1", "bld", **names)
    runs = [sft, replace(bld, name=HOSTILE)]
    folder = build(*runs, title=HOSTILE, teacher=HOSTILE)
    found = page(folder)
    assert not found.all("script")
    assert HOSTILE in found.text
    for drawing in folder.glob("*.svg"):
        ElementTree.fromstring(drawing.read_text(encoding="utf-8"))
        assert "<script" not in drawing.read_text(encoding="utf-8")


def test_a_clear_difference_is_told_with_its_direction(build, factory):
    text = page(build(factory.run("sft-1", level=2.5), factory.run("bld-1", "bld", level=2.6))).text
    assert (
        "BLD with linear heads needs 0.100 more bits per byte than SFT (95 % interval 0.100 to 0.100; seed 1)"
        in text
    )


def test_no_winner_is_named_where_the_interval_holds_zero(build, factory):
    noisy = {"bits_per_byte": factory.scores("noisy", 2.5, spread=0.4, seed=8)}
    runs = factory.run("sft-1"), factory.run("bld-1", "bld", evaluation=noisy)
    text = page(build(*runs)).text
    assert "BLD with linear heads against SFT: no difference that this data can show" in text
    assert "BLD with linear heads needs" not in text


def test_the_start_is_told_from_the_evaluations_of_teacher_and_student(build, pair):
    evaluations = pair[0].teacher_evaluation, pair[0].student_evaluation
    teacher, student = (
        json.loads(one["bits_per_byte"].read_text())["bits_per_byte"] for one in evaluations
    )
    text = page(build(*pair)).text
    assert f"the teacher large needs {teacher:.3f} bits per byte on the held-out" in text
    assert f"and the student small {student:.3f}." in text
    assert f"The teacher needs {student - teacher:.3f} fewer bits per byte than the student" in text


def test_a_teacher_that_was_not_evaluated_is_named_as_such(build, factory):
    text = page(build(factory.run("bld-1", "bld", teacher_evaluation=None))).text
    assert "The teacher large was not evaluated on the held-out documents of docs" in text


def test_a_run_without_a_teacher_is_told_as_such(build, factory):
    text = page(build(factory.run("sft-1", teacher=None, teacher_evaluation=None))).text
    assert "The student small has no teacher on docs." in text


def test_a_student_that_was_not_evaluated_is_named_as_such(build, factory):
    text = page(build(factory.run("bld-1", "bld", student_evaluation=None))).text
    assert "The student small was not evaluated." in text


def test_a_method_without_sft_runs_is_told_to_be_incomparable(build, factory):
    text = page(build(factory.run("bld-1", "bld"))).text
    assert "bld-1 cannot be compared: there is no SFT run" in text
    assert "No two runs can be compared" in text


def test_all_settings_of_a_run_stand_on_the_page_by_their_dotted_names(build, pair):
    text = page(build(*pair)).text
    assert "training.learning_rate 0.0005" in text
    assert "head_parameters 0" in text


def test_nothing_is_written_where_runs_cannot_be_compared(factory, tmp_path):
    twins = [factory.run("bld-1", "bld"), factory.run("bld-2", "bld")]
    with pytest.raises(ValueError):
        build_report(twins, [], "A title", tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_every_part_of_the_loss_has_its_panel(build, factory):
    texts = {
        element.text
        for element in ElementTree.parse(build(factory.run("bld-1", "bld")) / "loss.svg").iter()
        if element.tag == f"{SVG}text"
    }
    assert {"Warm-up: byte loss", "Token loss", "Byte loss", "KL to the teacher"} <= texts


def test_a_run_without_a_teacher_term_has_a_panel_for_tokens_only(build, factory):
    svg = (build(factory.run("sft-1")) / "loss.svg").read_text()
    assert "Token loss" in svg
    assert "Byte loss" not in svg and "Warm-up" not in svg
