import json
from dataclasses import replace

import pandas as pd
import pytest


@pytest.fixture
def notes(build):
    return lambda *runs, **more: build(*runs, **more).notes()


@pytest.fixture
def seeds(factory):
    """Two seeds of two methods, of which there is nothing to say."""
    return [factory.run(f"{method}-{seed}", method, seed=seed, level=level)
            for method, level in (("sft", 2.5), ("bld", 2.4)) for seed in (1, 2)]  # fmt: skip


def test_where_nothing_is_wrong_nothing_is_said(build, seeds):
    page = build(*seeds)
    assert page.notes() == []
    assert "Failures and warnings None." in page.words()
    assert "Not everything is here" not in page.words()


@pytest.mark.parametrize(
    "key, what",
    [
        ("metrics", "Metrics of sft-1"),
        ("run/bits_per_byte", "Bits per byte of sft-1"),
        ("run/byte_divergence", "Byte divergence of sft-1"),
        ("run/text", "Text of sft-1"),
        ("run/recall", "recall of sft-1"),
        ("student/bits_per_byte", "Bits per byte of the student small before training"),
        ("student/recall", "recall of the student small before training"),
        ("teacher/bits_per_byte", "Bits per byte of the teacher large"),
        ("teacher/prose", "prose of the teacher large"),
    ],
)
def test_a_file_that_is_missing_is_told_once(build, seeds, key, what):
    path = seeds[0].files[key]
    path.unlink()
    page = build(*seeds)
    failures = [note for note in page.notes() if note.startswith("Failed: ")]
    assert failures == [f"Failed: {what} is missing: {path}."]
    assert "Not everything is here: one part is missing." in page.words()
    assert "Run Snakemake again" in page.words()


def test_a_missing_model_is_told_and_what_was_found_of_it_is_left_out(notes, seeds):
    seeds[0].files["model"].unlink()
    found = notes(*seeds)
    assert f"Failed: Model of sft-1 is missing: {seeds[0].files['model']}." in found
    assert (
        "Failed: Bits per byte of sft-1 is not of the model that is there now, and was left out."
        in found
    )


def test_of_a_run_that_has_not_been_trained_only_that_is_told(notes, seeds):
    for key in ("training", "metrics", "model", "run/bits_per_byte", "run/recall", "run/prose",
                "run/text", "run/byte_divergence"):  # fmt: skip
        seeds[3].files[key].unlink()
    failures = [note for note in notes(*seeds) if note.startswith("Failed")]
    assert failures == [
        "Failed: bld-2 has not been trained to the end; its logs are in logs/warm_up and logs/distill."
    ]


def test_an_evaluation_of_an_older_model_is_told(notes, seeds, factory):
    factory.edit(seeds[2].files["run/recall"], model_sha256="0" * 64)
    assert notes(*seeds) == [
        "Failed: recall of bld-1 is not of the model that is there now, and was left out."
    ]


@pytest.mark.parametrize("name", ["audit", "information"])
def test_a_cache_that_was_not_measured_is_told(build, seeds, factory, name):
    whole, broken = factory.cache(), factory.cache("larger")
    broken.files[name].unlink()
    page = build(*seeds, caches=[whole, broken])
    assert page.notes() == [f"Failed: {broken.files[name]} is missing."]
    assert "large on docs, train" in page.words()
    assert "larger on docs, train" not in page.words()


def test_failures_come_before_warnings(notes, factory):
    runs = factory.run("sft-1"), factory.run("bld-1", "bld")
    runs[0].files["metrics"].unlink()
    found = notes(*runs)
    assert [note.startswith("Failed: ") for note in found] == [True, False]


def test_one_seed_is_a_warning(notes, factory):
    assert notes(factory.run("sft-1"), factory.run("bld-1", "bld")) == [
        "One seed only: bld-1 was compared with one SFT run, so what another seed would change is "
        "not known."
    ]


def test_seeds_that_disagree_are_told(notes, factory):
    runs = [factory.run("sft-1", level=2.5), factory.run("sft-2", seed=2, level=2.5),
            factory.run("bld-1", "bld", level=2.2), factory.run("bld-2", "bld", seed=2, level=2.6)]  # fmt: skip
    assert notes(*runs) == [
        "The seeds of bld-1 and bld-2 disagree on whether they are better than SFT."
    ]


def test_benchmarks_that_were_cut_are_no_figures_to_publish(notes, seeds, factory):
    factory.edit(seeds[1].files["run/recall"], limit=20)
    assert notes(*seeds) == [
        "recall was cut to 20 questions of each task: not a figure to publish."
    ]


def test_an_infinite_divergence_is_explained(notes, seeds, factory):
    factory.edit(seeds[2].files["run/byte_divergence"], kl=None)
    (note,) = notes(*seeds)
    assert note.startswith("The KL divergence of bld-1 from its teacher is infinite")


def test_a_run_that_was_better_before_its_end_is_told(notes, seeds, factory):
    files = seeds[0].files
    path = factory.metrics("overfitted", 0, False, "sft", looks=(2.7, 2.5, 2.6))
    (note,) = notes(replace(seeds[0], files={**files, "metrics": path}), *seeds[1:])
    assert (
        "sft-1 was better on the development split at an earlier look (2.500 bits per byte)" in note
    )
    assert "at the end (2.600)" in note


def test_a_last_look_that_is_hardly_worse_is_not_told(notes, seeds, factory):
    path = factory.metrics("level", 0, False, "sft", looks=(2.7, 2.60, 2.61))
    files = {**seeds[0].files, "metrics": path}
    assert notes(replace(seeds[0], files=files), *seeds[1:]) == []


def test_metrics_without_looks_at_the_development_split_say_nothing(notes, seeds):
    path = seeds[0].files["metrics"]
    pd.read_parquet(path).drop(columns="dev_bits_per_byte").to_parquet(path)
    assert notes(*seeds) == []


def test_few_documents_are_told_once(build, seeds, factory):
    factory.sizes_D, factory.difficulty_D = factory.sizes_D[:20], factory.difficulty_D[:20]
    runs = [factory.run(f"{method}-{seed}", method, seed=seed, level=level)
            for method, level in (("sft", 2.5), ("bld", 2.4)) for seed in (1, 2)]  # fmt: skip
    assert build(*runs).notes() == [
        "Bits per byte rests on 20 documents of docs only: intervals from so few are a little too narrow.",
        "prose rests on 20 questions only: intervals from so few are a little too narrow.",
        "Byte divergence rests on 10 documents of docs only: intervals from so few are a little too narrow.",
    ]


def test_true_bytes_that_a_cache_lost_are_told(notes, seeds, factory):
    lost = {"mean": 0.0, "max": 0.0, "exceeded": 0.0123, "rounding": 1e-4}
    gone = {"stored": 4, "policy": 0, "strict": 1}
    cache = factory.cache(audit={"true_byte_lost": gone, "lost_mass": lost})
    assert notes(*seeds, caches=[cache]) == [
        "The byte cache of large on docs, train gives no probability to 4 true bytes.",
        "In the byte cache of large on docs, train, what was dropped moved 1.23 % of the "
        "distributions by more than the cache says.",
    ]


def test_the_glance_counts_the_notes(build, factory):
    runs = factory.run("sft-1"), factory.run("bld-1", "bld")
    runs[0].files["metrics"].unlink()
    page = build(*runs)
    assert page.answers()["How sure is that?"][1][-1] == "2 failures and warnings on this page."
    assert json.loads((page.folder / "summary.json").read_text())["runs"][0]["run"] == "sft-1"


def test_what_differs_beside_the_method_is_told(factory, build):
    other = {"steps": 6000, "learning_rate": 5e-4}
    page = build(factory.run("sft-1"), factory.run("bld-1", "bld", training=other))
    assert (
        "Beside the method, bld-1 differs from sft-1 in training.steps (6000 against 60)."
        in page.notes()
    )


def test_settings_of_methods_and_of_sampling_are_no_difference_beside_the_method(factory, build):
    sampling = {"on_policy": 0.5, "temperature": 0.6}
    runs = factory.run("sft-1"), factory.run("uld-1", "uld", own={"weight": 2.0}, sampling=sampling)
    assert "Beside the method" not in build(*runs).words()
