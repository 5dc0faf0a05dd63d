"""Failures and warnings: which there are, and what they name. Their wording is pinned in the first
test alone."""

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
    return [
        factory.run(f"{method}-{seed}", method, seed=seed, level=level)
        for method, level in (("sft", 2.5), ("bld", 2.4))
        for seed in (1, 2)
    ]


def only(notes, *words):
    """Whether there is one note, with these words."""
    return len(notes) == 1 and all(word in notes[0] for word in words)


def test_a_page_with_failures_and_warnings_reads_like_this(notes, factory):
    ids = [f"other-{number}" for number in range(len(factory.sizes_D))]
    runs = [
        factory.run("sft-1"),
        factory.run("bld-1", "bld", training={"steps": 90, "learning_rate": 5e-4}),
        factory.run("failed", "uld"),
        factory.run("alone", "mined", seed=2),
        factory.run("elsewhere", "alm", scores={"ids": ids}),
    ]
    runs[2].files["run/bits_per_byte"].unlink()
    factory.edit(runs[1].files["run/recall"], model_sha256="0" * 64)
    factory.edit(runs[1].files["run/prose"], limit=20)
    lost = {"mean": 0.0, "max": 0.0, "exceeded": 0.0123, "rounding": 1e-4}
    gone = {"stored": 4, "policy": 0, "strict": 1}
    cache = factory.cache(audit={"true_byte_lost": gone, "lost_mass": lost})
    assert notes(*runs, caches=[cache]) == [
        f"Failed: Bits per byte of failed is missing: {runs[2].files['run/bits_per_byte']}.",
        "Failed: recall of bld-1 is of an earlier model and was left out.",
        "Failed: Left out of the comparison: document 'doc-000' was scored for 'sft-1' and not for "
        "'elsewhere': models are compared on the same documents only; evaluate both on the same "
        "split.",
        "prose was cut to 20 questions of each task: not a figure to publish.",
        "Not compared with SFT (not evaluated): failed.",
        "Not compared with SFT (no evaluated SFT run has its student, corpus and seed): alone.",
        "Not compared with SFT (SFT was evaluated on other documents): elsewhere.",
        "Besides the method, bld-1 and sft-1 differ in training.steps (90 against 60).",
        "The byte cache of large on docs, train gives no probability to 4 true bytes.",
        "In the byte cache of large on docs, train, dropped histories moved 1.23 % of the "
        "distributions by more than their bound.",
        "One seed only, so what another would change is unknown: bld-1.",
    ]


def test_what_is_told_of_rendered_documents_is_said_once_of_all_models(notes, seeds, factory):
    for run in seeds[:3]:
        factory.edit(run.files["run/bits_per_byte"], notes=["3 of 4 answers stand elsewhere"])
    names = ", ".join(run.name for run in seeds[:3])
    assert notes(*seeds) == [f"{names}: 3 of 4 answers stand elsewhere."]


def test_where_nothing_is_wrong_nothing_is_said(build, seeds):
    page = build(*seeds)
    assert page.notes() == [] and not page.by_class("failure")


@pytest.mark.parametrize(
    "key, owner",
    [
        ("metrics", "Metrics of sft-1"),
        ("run/byte_divergence", "Byte divergence of sft-1"),
        ("run/recall", "recall of sft-1"),
        ("student/bits_per_byte", "Bits per byte of the student small before training"),
        ("teacher/prose", "prose of the teacher large"),
        ("alignment", "the tokens of small and large"),
    ],
)
def test_a_file_that_is_missing_is_named_once_with_its_owner(build, seeds, key, owner):
    path = seeds[0].files[key]
    path.unlink()
    page = build(*seeds)
    assert only([x for x in page.notes() if x.startswith("Failed: ")], owner, str(path))
    assert page.by_class("failure")


def test_of_a_run_that_has_not_been_trained_only_that_is_told(notes, seeds):
    for key in (
        "training",
        "metrics",
        "model",
        "run/bits_per_byte",
        "run/recall",
        "run/prose",
        "run/text",
        "run/byte_divergence",
    ):
        seeds[3].files[key].unlink()
    failures = [note for note in notes(*seeds) if note.startswith("Failed")]
    assert only(failures, "bld-2", "logs/distill")


def test_results_of_a_model_that_is_gone_are_left_out(notes, seeds):
    seeds[0].files["model"].unlink()
    failures = [note for note in notes(*seeds) if note.startswith("Failed")]
    assert len(failures) == 6 and all("sft-1" in note for note in failures)


@pytest.mark.parametrize("name", ["audit", "information"])
def test_a_cache_that_was_not_measured_is_told(build, seeds, factory, name):
    whole, broken = factory.cache(), factory.cache("larger")
    broken.files[name].unlink()
    page = build(*seeds, caches=[whole, broken])
    assert only(page.notes(), "Failed", str(broken.files[name]))
    assert [row[0] for row in page.table("caches")] == ["large on docs, trainprefix, eps 0.001"]


def test_a_cache_that_stores_other_symbols_than_its_policy_is_told(notes, seeds, factory):
    infinite = {"kl": None, "entropy": 1.0, "share_of_entropy": None}
    assert only(notes(*seeds, caches=[factory.cache(audit={"storage": infinite})]), "scored again")


def test_seeds_that_disagree_are_told(notes, factory):
    runs = [
        factory.run("sft-1", level=2.5),
        factory.run("sft-2", seed=2, level=2.5),
        factory.run("bld-1", "bld", level=2.2),
        factory.run("bld-2", "bld", seed=2, level=2.6),
    ]
    assert only(notes(*runs), "bld-1, bld-2", "disagree")


def test_an_infinite_divergence_is_explained(notes, seeds, factory):
    factory.edit(seeds[2].files["run/byte_divergence"], kl=None)
    assert only(notes(*seeds), "bld-1", "infinite", "evaluation.eps")


def test_prompts_that_did_not_fit_are_told(notes, seeds, factory):
    factory.edit(seeds[2].files["run/recall"], cut_prompts=1234)
    assert only(notes(*seeds), "bld-1", "recall 1,234", "evaluation.window")


@pytest.mark.parametrize("bits, is_told", [((2.7, 2.5, 2.6), True), ((2.7, 2.60, 2.61), False)])
def test_a_run_that_was_better_before_its_end_is_told(notes, seeds, factory, bits, is_told):
    path = factory.metrics("other", 0, False, "sft", development=bits)
    files = {**seeds[0].files, "metrics": path}
    found = notes(replace(seeds[0], files=files), *seeds[1:])
    assert only(found, "sft-1", "2.500", "2.600") if is_told else found == []


def test_metrics_without_development_evaluations_say_nothing(notes, seeds):
    path = seeds[0].files["metrics"]
    pd.read_parquet(path).drop(columns="dev_bits_per_byte").to_parquet(path)
    assert notes(*seeds) == []


@pytest.mark.parametrize(
    "documents, found",
    [
        (20, "only 10 groups, so intervals are too narrow"),
        (8, "only 4 groups, so no intervals are given"),
        (2, "one group, so no intervals are given"),
    ],
)
def test_few_groups_are_told_once_for_each_measure(build, factory, documents, found):
    factory.sizes_D = factory.sizes_D[:documents]
    factory.difficulty_D = factory.difficulty_D[:documents]
    runs = [
        factory.run(f"{method}-{seed}", method, seed=seed, level=level)
        for method, level in (("sft", 2.5), ("bld", 2.4))
        for seed in (1, 2)
    ]
    assert build(*runs).notes() == [
        f"Bits per byte: the {documents} documents of docs are {found}.",
        f"prose: the {documents} questions are {found}.",
        f"Byte divergence: the {documents // 2} documents of docs are {found}.",
    ]


def test_long_documents_are_told_with_what_became_of_them_and_what_the_teacher_reads(
    notes, factory
):
    counts = {"row_length": 512, "context": 256, "documents": 40, "long": 6, "dropped": 0}
    counts |= {"pieces": 15, "answers": 2, "tokens": 20_000, "repeated": 2_304, "unread": 1_393}
    told = {"long_documents": counts | {"teacher_window": 4096}}
    none = {"long_documents": counts | {"long": 0, "teacher_window": None}}
    runs = [
        factory.run("sft-1", costs=none),
        factory.run("bld-1", "bld", level=2.4, costs=told),
        factory.run("sft-2", seed=2, costs=none),
        factory.run("bld-2", "bld", seed=2, level=2.4, costs=none),
    ]
    assert notes(*runs) == [
        "bld-1: 6 of 40 documents are longer than a row of 512 tokens; 6 are read in 15 pieces "
        "behind at least 256 tokens of the text before, or all of it: 2,304 of 20,000 tokens of an "
        "epoch are read again; 2 answers do not see the beginning of what stands before them; "
        "1,393 tokens are not read; its teacher reads up to 4,096 of its own at once."
    ]


def test_an_average_of_teachers_is_told_to_be_evaluated_by_bytes(factory, build):
    run, other = factory.run("sft-1"), factory.run("sft-2", seed=2)
    assert build(run, other).notes() == []
    for one in (run, other):
        del one.files["alignment"]
    assert only(build(run, other).notes(), "large", "averages", "By bytes")


def test_settings_of_methods_and_of_sampling_are_no_difference_beside_the_method(factory, build):
    sampling = {"on_policy": 0.5, "temperature": 0.6}
    runs = (
        factory.run("sft-1"),
        factory.run("uld-1", "uld", own={"distance_weight": 2.0}, sampling=sampling),
    )
    assert "Besides the method" not in build(*runs).words()


def test_rows_that_were_left_out_are_counted_by_reason(notes, seeds, tmp_path):
    broken = {"rows": 1200, "first": ["a.jsonl, line 3", "a.jsonl, line 4"]}
    reasons = {"broken JSON": broken, "an unknown role": {"rows": 34, "first": ["b.csv, row 1"]}}
    manifests = {
        "chats, train": {"rows": {"rows": 56789, "skipped": 1234, "reasons": reasons}},
        "chats, validation": {"rows": {"rows": 56789, "skipped": 0, "reasons": {}}},
        "python_docs, train": {"documents": 3},
    }
    splits = {name: tmp_path / f"{name}.json" for name in [*manifests, "not, there"]}
    for name, manifest in manifests.items():
        splits[name].write_text(json.dumps(manifest))
    assert notes(*seeds, splits=splits) == [
        "Of the rows read for chats, train, 1 234 of 56 789 were left out: 1 200 for broken JSON "
        "(first: a.jsonl, line 3); 34 for an unknown role (first: b.csv, row 1)."
    ]
