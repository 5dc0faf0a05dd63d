"""The page is built from what there is, and says what there is not."""

import csv
from dataclasses import replace

import pytest

from bld.reporting.registry import all_figures

KEYS = [
    "metrics",
    "training",
    "model",
    "alignment",
    *(
        f"{whose}/{task}"
        for whose in ("run", "student", "teacher")
        for task in ("bits_per_byte", "byte_divergence", "text", "recall", "prose")
        if (whose, task) != ("teacher", "byte_divergence")
    ),
]


@pytest.fixture
def pair(factory):
    return [factory.run("sft-1"), factory.run("bld-1", "bld", level=2.4)]


def figures_of(page):
    return {path.stem for path in page.folder.glob("*.svg")}


def written(page, table):
    with open(page.folder / f"{table}.csv", newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_files_that_are_left_out_below_are_all_that_a_run_has(pair):
    assert sorted(KEYS) == sorted(pair[1].files)


@pytest.mark.parametrize("key", KEYS)
def test_the_page_is_built_without_a_file_of_one_run_and_says_so(build, pair, key):
    pair[1].files[key].unlink()
    page = build(*pair)
    (note, *_) = [note for note in page.notes() if note.startswith("Failed: ")]
    if key == "training":
        assert "bld-1 was not trained to its end" in note
    else:
        assert str(pair[1].files[key]) in note
    assert len(page.answers()) == 4


@pytest.mark.parametrize("key", KEYS)
def test_the_page_is_built_without_a_file_of_every_run(build, pair, key):
    for run in pair:
        run.files[key].unlink(missing_ok=True)
    page = build(*pair, figures=all_figures() if key in ("metrics", "run/bits_per_byte") else ())
    assert page.notes() and len(page.answers()) == 4


def test_everything_but_one_training_may_be_missing(build, pair, factory):
    cache = factory.cache()
    for path in cache.files.values():
        path.unlink()
    for run in pair:
        for key, path in run.files.items():
            if key != "training" or run.name == "bld-1":
                path.unlink(missing_ok=True)
    page = build(*pair, caches=[cache], figures=all_figures())
    assert figures_of(page) == {"costs"}
    assert "sft-1 was not trained" not in page.words()
    assert "bld-1 was not trained to its end" in page.words()
    assert {question: short for question, (short, _) in page.answers().items()} == {
        "Is the teacher better than the student?": "Not measured",
        "What did distillation add over SFT?": "Not measured",
        "At what cost?": "Not measured",
        "How sure is that?": "Not at all",
    }


def test_everything_may_be_missing(build, pair):
    for run in pair:
        for path in run.files.values():
            path.unlink(missing_ok=True)
    page = build(*pair, figures=all_figures())
    assert figures_of(page) == set() and page.all("svg") == []
    assert [row[0] for row in page.table("costs")] == ["sft-1", "bld-1"]
    assert not page.all("data")


def test_without_a_comparison_with_sft_its_figure_is_not_drawn(build, factory):
    page = build(factory.run("sft-1"), figures=all_figures())
    assert written(page, "comparison") and "comparison" not in figures_of(page)
    assert "costs" in figures_of(page)


def test_figures_are_drawn_only_where_there_is_data(build, factory):
    run = factory.run("sft-1", teacher=None)
    for task in ("recall", "prose", "text"):
        for whose in ("run", "student"):
            run.files[f"{whose}/{task}"].unlink()
    page = build(run, figures=all_figures())
    assert figures_of(page) == {"bits_per_byte", "bits_per_byte_by_kind", "loss", "costs"}
    headings = [page.words(one) for one in page.all("h2")]
    for absent in ("Benchmarks", "Byte distributions", "Sample texts", "Byte caches"):
        assert absent not in headings


def test_only_the_figures_that_are_wanted_are_drawn(build, pair):
    page = build(*pair, figures=["loss"])
    assert figures_of(page) == {"loss"} and len(page.all("svg")) == 1


def test_tables_are_written_even_where_they_are_empty(build, factory):
    run = factory.run("sft-1", teacher=None)
    page = build(run)
    assert written(page, "divergence") == [] and written(page, "caches") == []
    linked = {one.get("href") for one in page.all("a")}
    assert "divergence.csv" not in linked and "costs.csv" in linked


def test_a_benchmark_of_one_run_alone_leaves_dashes_for_the_others(build, pair):
    for run in pair:
        for whose in ("student", "teacher"):
            run.files[f"{whose}/recall"].unlink(missing_ok=True)
    pair[0].files["run/recall"].unlink()
    rows = {row[0]: row[2:] for row in build(*pair).table("benchmarks")}
    names = {name: [value == "\u2013" for value in values] for name, values in rows.items()}
    assert names == {
        "large": [False, True],
        "small": [False, True],
        "sft-1": [False, True],
        "bld-1": [False, False],
    }


def test_a_file_that_a_run_never_asked_for_is_not_missed(build, factory):
    run = factory.run("sft-1")
    asked = {key: path for key, path in run.files.items() if "recall" not in key}
    assert build(replace(run, files=asked)).notes() == []
