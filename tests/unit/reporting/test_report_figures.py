"""What the drawings hold: texts and colours of the SVG files."""

import re
from xml.etree import ElementTree

import pandas as pd
import pytest

from bld.reporting.plotting import legend_columns, uncrowded
from bld.reporting.style import FIXED, INK, MUTED, PALETTE
from bld.reporting.words import UNTRAINED

SVG = "{http://www.w3.org/2000/svg}"


def texts(page, name):
    root = ElementTree.parse(page.folder / f"{name}.svg").getroot()
    return [one.text.strip() for one in root.iter(f"{SVG}text") if one.text]


def description(page, name):
    return ElementTree.parse(page.folder / f"{name}.svg").getroot().attrib["aria-label"]


def test_every_part_of_the_loss_has_its_panel(whole):
    assert {
        "Warm-up: byte loss",
        "Token loss",
        "Byte loss",
        "KL to the teacher",
        "Loss against the teacher",
        "Bits per byte, development",
    } <= set(texts(whole, "loss"))


def test_a_run_without_a_teacher_term_has_panels_for_what_it_has(build, factory):
    found = texts(build(factory.run("sft-1"), figures=["loss"]), "loss")
    assert {"Token loss", "Bits per byte, development"} <= set(found)
    absent = {"Byte loss", "KL to the teacher", "Warm-up: byte loss", "Loss against the teacher"}
    assert not absent & set(found)


def test_models_are_drawn_fewest_bits_first(whole):
    names = [
        "large (teacher)",
        "bld-1",
        "one-1",
        "bld-2",
        "sft-1",
        "none-1",
        "sft-2",
        "small (untrained)",
    ]
    found = texts(whole, "bits_per_byte")
    assert [one for one in found if one in names] == names
    assert re.findall(r"(\S+) \d\.\d{3}", description(whole, "bits_per_byte"))[0] == "large"


def test_kinds_are_drawn_with_most_bytes_first(whole, build, factory):
    kinds = [
        one
        for one in texts(whole, "bits_per_byte_by_kind")
        if one in ("class", "function", "module")
    ]
    sizes = {
        kind: factory.sizes_D[place::3].sum()
        for place, kind in enumerate(("class", "function", "module"))
    }
    assert kinds == sorted(sizes, key=sizes.get, reverse=True)


def test_differences_from_sft_say_their_value_and_their_interval_in_words(whole):
    found = texts(whole, "comparison")
    rows = whole.table("comparison")
    values = [row[2] for row in rows if row[1] == "bits per byte"]
    assert set(values) <= set(found)
    words = description(whole, "comparison")
    assert re.search(r"BLD with linear heads on small [+-]\d\.\d{4} \([+-]\d\.\d{4} to ", words)


def test_benchmarks_are_drawn_best_first_whatever_is_better(whole):
    words = description(whole, "benchmarks")
    for name in ("recall", "prose"):
        (row,) = re.findall(rf"{name}: (.*?)\. ?(?=prose|$)", words)
        values = [float(value) for value in re.findall(r" (\d\.\d{3})", row)]
        assert len(values) == 8
        assert values == sorted(values, reverse=name == "recall")


def test_the_divergence_is_drawn_for_students_by_place_and_kind(whole):
    found = texts(whole, "divergence")
    assert {"By place in the token", "By kind of document", "11+"} <= set(found)
    assert "end" not in found
    models = re.findall(r"(\S+) \d\.\d{4}", description(whole, "divergence"))
    assert models == ["small", *(run.name for run in whole.runs)]


def test_costs_that_nobody_has_have_no_panel(whole, build, factory):
    assert {"GPU-hours", "Head, 1,000 weights", "Memory, GiB"} <= set(texts(whole, "costs"))
    run = factory.run("sft-1", costs={"gpu_hours": 0.0, "peak_memory_bytes": None})
    found = texts(build(run, figures=["costs"]), "costs")
    assert "Training, seconds" in found
    assert not {"GPU-hours", "Head, 1,000 weights", "Memory, GiB"} & set(found)


def test_two_corpora_have_panels_of_their_own(build, factory):
    runs = factory.run("sft-1"), factory.run("sft-2", corpus="books")
    page = build(*runs, figures=["bits_per_byte", "bits_per_byte_by_kind"])
    assert {"docs", "books"} <= set(texts(page, "bits_per_byte"))
    assert {"small on docs", "small on books"} <= set(texts(page, "bits_per_byte_by_kind"))


@pytest.mark.parametrize(
    "lengths, columns",
    [([3], 1), ([3, 21, 18], 3), ([20] * 6, 2), ([37, 34, 3, 3, 3, 3], 3), ([37] * 4, 1)],
)
def test_a_legend_has_as_many_columns_as_fit(lengths, columns):
    assert legend_columns(["x" * length for length in lengths]) == columns


def test_several_teachers_are_told_apart(build, factory):
    taught = [factory.run(f"bld-{x}", "bld", teacher=x) for x in ("large", "both")]
    page = build(factory.run("sft-1"), *taught, figures=["reliability"])
    assert {"teacher, large", "teacher, both"} <= set(texts(page, "reliability"))
    html = (page.folder / "index.html").read_text()
    assert html.count("<small>large</small>") == 3 and html.count("<small>both</small>") == 1


def test_kinds_of_documents_are_drawn_for_each_student_with_its_teacher(build, factory):
    runs = factory.run("sft-1"), factory.run("sft-m", student="medium")
    page = build(*runs, figures=["bits_per_byte_by_kind"])
    assert {"small on docs", "medium on docs"} <= set(texts(page, "bits_per_byte_by_kind"))
    (values,) = re.findall(r"module: ([^;]*)\.$", description(page, "bits_per_byte_by_kind"))
    assert re.findall(r"(\S+) \d", values) == ["large", "small", "medium", "sft-1", "sft-m"]


@pytest.mark.parametrize(
    "name",
    [
        "bits_per_byte",
        "bits_per_byte_by_kind",
        "comparison",
        "ranks",
        "costs",
        "benchmarks",
        "loss",
        "divergence",
        "reliability",
    ],
)
def test_a_method_has_its_colour_in_every_figure(whole, name):
    svg = (whole.folder / f"{name}.svg").read_text()
    assert FIXED["bld linear"].colour in svg and FIXED["bld marginal"].colour in svg
    if name not in ("loss", "costs", "comparison", "ranks"):
        assert MUTED in svg and INK in svg


def test_drawings_in_the_page_take_its_colours_and_files_keep_their_own(whole):
    for drawing in whole.folder.glob("*.svg"):
        assert INK in drawing.read_text() and "var(--" not in drawing.read_text()
    inline = whole.source[whole.source.index("<svg ") :]
    assert INK not in inline and "var(--ink)" in inline
    assert "<?xml" not in inline and "<metadata" not in inline


def lines_of(page, name):
    """How many lines are drawn in each colour, by the colour."""
    root = ElementTree.parse(page.folder / f"{name}.svg").getroot()
    styles = [
        path.get("style", "")
        for group in root.iter(f"{SVG}g")
        if group.get("id", "").startswith(f"{name}-line2d")
        for path in group.findall(f"{SVG}path")
    ]
    return {colour: sum(colour in style for style in styles) for colour in PALETTE}


def test_of_many_methods_the_losses_are_means_over_their_runs(build, factory):
    few = [factory.run(f"sft-{seed}", seed=seed) for seed in (1, 2, 3)]
    methods = ("alm", "uld", "mined", "one_to_one", "simct")
    counts = [
        lines_of(build(*runs, figures=["loss"]), "loss")[FIXED["sft"].colour]
        for runs in (few, [*few, *(factory.run(one, one) for one in methods)])
    ]
    # Token loss, step by step and smoothed, and looks, of three runs; and in the legend.
    assert counts[0] == 3 * 3 + 1
    # SFT and ULD share a colour: two panels of the first, three of the second.
    assert counts[1] == 2 + 3 + 2


def test_ranks_are_drawn_first_ones_first(whole):
    words = description(whole, "ranks")
    ranks = [float(value) for value in re.findall(r" (\d\.\d\d)[,.]", words)]
    assert len(ranks) == 4 and ranks == sorted(ranks)


MANY = ("sft", "alm", "uld", "mined", "one_to_one", "x_token")


def rows_of(values):
    """A row for each (series, student, corpus, jsd), all at one place."""
    rows = pd.DataFrame(values, columns=["series", "student", "corpus", "jsd"])
    return rows.assign(group=1, model=[f"run-{at}" for at in range(len(rows))])


def test_means_over_runs_keep_students_and_corpora_apart():
    others = [(name, "small", "docs", 9.0) for name in MANY[1:]]
    two_seeds = [("sft", "small", "docs", 1.0), ("sft", "small", "docs", 3.0)]
    elsewhere = [("sft", "medium", "docs", 7.0), ("sft", "small", "books", 5.0)]
    untrained = [(UNTRAINED, "small", "docs", 20.0), (UNTRAINED, "medium", "docs", 30.0)]
    rows = rows_of([*two_seeds, *elsewhere, *untrained, *others])
    means = uncrowded(rows, ["group"], ["jsd"], "model").set_index(["series", "student", "corpus"])
    assert means["jsd"][lambda jsd: jsd != 9.0].to_dict() == {
        ("sft", "small", "docs"): 2.0,
        ("sft", "medium", "docs"): 7.0,
        ("sft", "small", "books"): 5.0,
        (UNTRAINED, "small", "docs"): 20.0,
        (UNTRAINED, "medium", "docs"): 30.0,
    }


def test_models_that_no_method_trained_do_not_make_a_crowd():
    rows = rows_of([(name, "small", "docs", 1.0) for name in (*MANY[1:], UNTRAINED, "teacher")])
    assert uncrowded(rows, ["group"], ["jsd"], "model") is rows


@pytest.mark.parametrize("methods", [MANY[:1], MANY])
def test_students_and_corpora_have_panels_of_their_own_in_figures_of_lines(build, factory, methods):
    of_x_token = {"own": {"loss": "p_kl"}}
    runs = [
        factory.run(
            f"{method}-{student}-{corpus}",
            method,
            student=student,
            corpus=corpus,
            **of_x_token if method == "x_token" else {},
        )
        for student, corpus in (("small", "docs"), ("medium", "docs"), ("small", "books"))
        for method in methods
    ]
    page = build(*runs, figures=["loss", "divergence", "reliability"])
    for name, panels in (("divergence", 2), ("reliability", 2), ("loss", 2 + (methods == MANY))):
        found = texts(page, name)
        settings = ("small on docs", "medium on docs", "small on books")
        assert [found.count(one) for one in settings] == [panels] * 3
    if methods == MANY:
        # Three settings, each drawn in two panels, of SFT and of ULD, which has its colour; and in
        # the legend.
        assert lines_of(page, "reliability")[FIXED["sft"].colour] == 3 * 2 * 2 + 2
