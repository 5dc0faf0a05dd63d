import json
import math

import numpy as np
import pytest

from bld.reporting.comparison import Comparison, compare, difference, paired
from bld.reporting.inputs import read_runs
from bld.reporting.statistics import Estimate


def read(*inputs):
    return read_runs(inputs)


def evaluated(*inputs):
    return [run.model for run in read(*inputs)]


def only(comparisons, against="sft", metric="bits_per_byte"):
    return [one for one in comparisons if (one.against, one.metric) == (against, metric)]


def names(models):
    return [model.name for model in models]


def pooled(path, total, size):
    rows = json.loads(path.read_text())["per_document"]
    return sum(row[total] for row in rows) / sum(row[size] for row in rows)


def test_a_method_is_compared_with_sft_of_the_same_student_corpus_and_seed(factory):
    runs = read(
        factory.run("sft-1", "sft", seed=1),
        factory.run("sft-2", "sft", seed=2),
        factory.run("bld-2", "bld", seed=2),
        factory.run("bld-1", "bld", seed=1),
        factory.run("bld-3", "bld", seed=3),
        factory.run("bld-other", "bld", seed=1, student="medium"),
        factory.run("bld-elsewhere", "bld", seed=1, corpus="books"),
    )
    (entry,) = only(compare(runs))
    assert (entry.series, entry.student, entry.corpus) == ("bld linear", "small", "docs")
    assert entry.seeds == [1, 2]
    assert names(entry.ours) == ["bld-1", "bld-2"]
    assert names(entry.theirs) == ["sft-1", "sft-2"]


def test_a_difference_is_the_mean_over_seeds_of_method_less_sft(factory):
    inputs = [
        factory.run("sft-1", "sft", seed=1, level=2.5),
        factory.run("sft-2", "sft", seed=2, level=2.6),
        factory.run("bld-1", "bld", seed=1, level=2.4),
        factory.run("bld-2", "bld", seed=2, level=2.3),
    ]
    (entry,) = only(compare(read(*inputs)))
    bits = [pooled(run.files["run/bits_per_byte"], "nats", "bytes") / np.log(2) for run in inputs]
    by_seed = [bits[2] - bits[0], bits[3] - bits[1]]
    assert entry.by_seed == pytest.approx(by_seed)
    assert entry.difference.value == pytest.approx(sum(by_seed) / 2)
    assert entry.difference.low < entry.difference.value < entry.difference.high
    assert entry.verdict == "better"


def test_divergence_from_the_teacher_is_compared_over_symbols_and_less_is_better(factory):
    inputs = factory.run("sft-1", level=2.5), factory.run("bld-1", "bld", level=2.2)
    (entry,) = only(compare(read(*inputs)), metric="byte_jsd")
    sft, bld = (pooled(run.files["run/byte_divergence"], "jsd", "symbols") for run in inputs)
    assert entry.difference.value == pytest.approx(bld - sft)
    assert (entry.higher_is_better, entry.verdict) == (False, "better")


def test_right_answers_are_compared_question_by_question_and_more_are_better(factory):
    inputs = factory.run("sft-1", level=2.8), factory.run("bld-1", "bld", level=2.2)
    (entry,) = only(compare(read(*inputs)), metric="recall")
    rows = [json.loads(run.files["run/recall"].read_text())["per_document"] for run in inputs]
    gaps = [ours["value"] - theirs["value"] for theirs, ours in zip(*rows, strict=True)]
    assert entry.difference.value == pytest.approx(sum(gaps) / len(gaps))
    error = np.std(gaps) / np.sqrt(len(gaps))
    assert entry.difference.high - entry.difference.low == pytest.approx(3.92 * error, rel=0.1)
    assert (entry.higher_is_better, entry.verdict) == (True, "better")


def test_benchmarks_over_bytes_are_compared_in_bits(factory):
    inputs = factory.run("sft-1", level=2.5), factory.run("bld-1", "bld", level=2.7)
    (entry,) = only(compare(read(*inputs)), metric="prose")
    sft, bld = (pooled(run.files["run/prose"], "value", "bytes") / np.log(2) for run in inputs)
    assert entry.difference.value == pytest.approx(bld - sft)
    assert (entry.higher_is_better, entry.verdict) == (False, "worse")


def test_a_teacher_is_compared_with_its_student_before_training_once(factory):
    runs = read(factory.run("sft-1"), factory.run("bld-1", "bld"))
    starts = [one for one in compare(runs) if one.against == "untrained student"]
    assert [one.metric for one in starts] == ["bits_per_byte", "recall", "prose"]
    assert {(one.series, *names(one.ours), *names(one.theirs)) for one in starts} == {
        ("teacher", "large", "small")
    }
    assert all(one.verdict == "better" and one.seeds == [] for one in starts)
    assert compare(runs)[: len(starts)] == starts


def test_every_teacher_student_and_corpus_has_its_own_start(factory):
    runs = read(
        factory.run("a"),
        factory.run("b", teacher="huge"),
        factory.run("c", student="medium"),
        factory.run("d", corpus="books"),
        factory.run("e", seed=5, teacher=None),
    )
    starts = only(compare(runs), against="untrained student")
    assert [(names(one.ours)[0], one.student, one.corpus) for one in starts] == [
        ("large", "small", "docs"),
        ("huge", "small", "docs"),
        ("large", "medium", "docs"),
        ("large", "small", "books"),
    ]


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize(
    "estimate, verdict",
    [
        (Estimate(0.1, 0.05, 0.2), {True: "better", False: "worse"}),
        (Estimate(-0.1, -0.2, -0.05), {True: "worse", False: "better"}),
        (Estimate(0.1, -0.01, 0.2), {True: "not shown", False: "not shown"}),
        (Estimate(-0.1, -0.2, 0.0), {True: "not shown", False: "not shown"}),
        (Estimate(0.1, float("nan"), float("nan")), {True: "not shown", False: "not shown"}),
    ],
)
def test_no_winner_is_named_whose_interval_holds_zero(higher, estimate, verdict):
    entry = Comparison("a", "b", "m", higher, "s", "c", [1], [], [], [0.1], estimate)
    assert entry.verdict == verdict[higher]


def test_a_benchmark_that_does_not_say_what_is_better_names_no_winner():
    estimate = Estimate(0.1, 0.05, 0.2)
    entry = Comparison("a", "b", "m", None, "s", "c", [1], [], [], [0.1], estimate)
    assert entry.verdict == "not shown"


def test_costs_are_held_against_those_of_sft_over_the_seeds_that_both_have(factory):
    runs = read(
        factory.run("sft-1", costs={"train_seconds": 10.0, "peak_memory_bytes": 100}),
        factory.run("sft-2", seed=2, costs={"train_seconds": 30.0, "peak_memory_bytes": 100}),
        factory.run("sft-3", seed=3, costs={"train_seconds": 1000.0}),
        factory.run("bld-1", "bld", costs={"train_seconds": 50.0, "peak_memory_bytes": 150}),
        factory.run(
            "bld-2", "bld", seed=2, costs={"train_seconds": 30.0, "peak_memory_bytes": 200}
        ),
    )
    (entry,) = only(compare(runs))
    assert (entry.seconds_over, entry.memory_over) == (2.0, 1.75)


def test_costs_that_a_training_did_not_note_are_not_compared(factory):
    inputs = factory.run("sft-1"), factory.run("bld-1", "bld", costs={"peak_memory_bytes": None})
    (entry,) = only(compare(read(*inputs)))
    assert entry.seconds_over == 2.25
    assert np.isnan(entry.memory_over)


@pytest.mark.parametrize("missing", ["sft-1", "bld-1"])
def test_what_one_of_two_was_not_evaluated_by_is_not_compared(factory, missing):
    inputs = {run.name: run for run in (factory.run("sft-1"), factory.run("bld-1", "bld"))}
    for task in ("byte_divergence", "recall"):
        inputs[missing].files[f"run/{task}"].unlink()
    found = [one.metric for one in compare(read(*inputs.values())) if one.against == "sft"]
    assert found == ["bits_per_byte", "prose"]


def test_a_seed_that_was_not_evaluated_leaves_its_series_without_that_comparison(factory):
    runs = [
        factory.run("sft-1"),
        factory.run("sft-2", seed=2),
        factory.run("bld-1", "bld"),
        factory.run("bld-2", "bld", seed=2),
    ]
    runs[3].files["run/recall"].unlink()
    found = [one.metric for one in compare(read(*runs)) if one.against == "sft"]
    assert found == ["bits_per_byte", "byte_jsd", "prose"]


def test_documents_are_drawn_together_so_their_shared_difficulty_cancels(factory):
    factory.spread = 0.0
    first, second = evaluated(factory.run("a", level=2.4), factory.run("b", seed=2, level=2.5))
    estimate = difference([first], [second], "bits_per_byte")
    assert estimate.low == pytest.approx(-0.1)
    assert estimate.high == pytest.approx(-0.1)


def test_settings_apart_from_seeds_are_compared_apart(factory):
    runs = read(
        factory.run("sft-1", seed=1),
        factory.run("sft-2", seed=2),
        factory.run("bld-1", "bld", seed=1),
        factory.run("bld-2", "bld", seed=2),
        factory.run("heavy-1", "bld", seed=1, bld={"head": "linear", "kl_weight": 4.0}),
    )
    entries = only(compare(runs))
    assert [names(entry.ours) for entry in entries] == [["bld-1", "bld-2"], ["heavy-1"]]


def test_two_runs_that_differ_in_nothing_but_their_names_are_an_error(factory):
    runs = read(factory.run("bld-a", "bld"), factory.run("bld-b", "bld"))
    with pytest.raises(ValueError, match=r"'bld-a' and 'bld-b'.*the same seed, 1"):
        compare(runs)


def test_other_documents_are_an_error_that_names_the_first(factory):
    ids = [f"doc-{index:03d}" for index in range(len(factory.sizes_D))]
    ids[7] = "doc-900"
    runs = read(factory.run("sft-1"), factory.run("bld-1", "bld", scores={"ids": ids}))
    with pytest.raises(ValueError, match="'doc-007' was scored for 'sft-1' and not for 'bld-1'"):
        compare(runs)


def test_the_same_document_with_another_length_is_an_error_that_names_it(factory):
    sizes = factory.sizes_D + (np.arange(len(factory.sizes_D)) == 4)
    runs = read(factory.run("sft-1"), factory.run("bld-1", "bld", scores={"sizes": sizes}))
    with pytest.raises(ValueError, match=r"'doc-004' has .* bytes for 'bld-1'"):
        compare(runs)


def test_a_document_that_was_scored_twice_is_an_error_that_names_it(factory):
    ids = [f"doc-{index:03d}" for index in range(len(factory.sizes_D))]
    ids[7] = "doc-003"
    (model,) = evaluated(factory.run("a", scores={"ids": ids}))
    with pytest.raises(ValueError, match="'doc-003' was scored twice for 'a'"):
        paired(model, "bits_per_byte")


def test_a_question_that_was_asked_twice_is_an_error_that_names_it(factory):
    run = factory.run("a")
    rows = [{"id": "recall:1", "group": "a", "value": value} for value in (1.0, 0.0)]
    factory.edit(run.files["run/recall"], per_document=rows)
    with pytest.raises(ValueError, match="'recall:1' was scored twice for 'a'"):
        paired(read_runs([run])[0].model, "recall")


@pytest.mark.parametrize("metric", ["bits_per_byte", "byte_jsd", "recall", "prose"])
def test_a_document_without_its_group_is_an_error_that_says_what_to_do(factory, metric):
    run = factory.run("a")
    for key in ("bits_per_byte", "byte_divergence", "recall", "prose"):
        path = run.files[f"run/{key}"]
        rows = json.loads(path.read_text())["per_document"]
        factory.edit(path, per_document=[{**row, "group": None} for row in rows])
    with pytest.raises(ValueError, match=r"for 'a' without its group.*evaluate the model again"):
        paired(read_runs([run])[0].model, metric)


@pytest.mark.parametrize("metric", ["bits_per_byte", "byte_jsd", "recall", "prose"])
def test_the_order_of_documents_in_a_file_does_not_matter(factory, metric):
    first, second = factory.run("a"), factory.run("a", seed=2)
    for key, path in second.files.items():
        if key.startswith("run/") and not key.endswith("text"):
            rows = json.loads(path.read_text())["per_document"]
            factory.edit(path, per_document=rows[::-1])
    ours, theirs = (read_runs([run])[0].model for run in (first, second))
    assert difference([ours], [theirs], metric).value == pytest.approx(0)
    assert paired(ours, metric).documents.index.is_monotonic_increasing


def test_nothing_is_paired_where_nothing_was_measured(factory):
    run = factory.run("a")
    for key, path in run.files.items():
        if key.startswith("run/"):
            path.unlink()
    model = read_runs([run])[0].model
    assert model.bits_per_byte is None
    for metric in ("bits_per_byte", "byte_jsd", "recall"):
        assert paired(model, metric) is None
        assert difference([model], [model], metric) is None


def test_comparisons_of_models_evaluated_on_other_documents_are_left_out_and_told(factory, build):
    sft, bld = factory.run("sft-1"), factory.run("bld-1", "bld", level=2.4)
    ids = [f"other-{number}" for number in range(len(factory.sizes_D))]
    factory.edit(bld.files["run/bits_per_byte"], **factory.scores("bld-1", 2.4, ids=ids))
    page = build(sft, bld)
    told = [note for note in page.notes() if note.startswith("Failed: Left out of the comparison")]
    assert len(told) == 1 and "sft-1" in told[0] and "bld-1" in told[0]


def test_runs_of_other_teachers_are_not_compared_by_their_distance_to_them(factory):
    runs = read(factory.run("sft-1", teacher="weak"), factory.run("bld-1", "bld"))
    found = [one.metric for one in compare(runs) if one.against == "sft"]
    assert "bits_per_byte" in found and "byte_jsd" not in found


def test_costs_on_other_machines_are_not_divided(factory):
    runs = read(
        factory.run("sft-1", costs={"device": "cuda", "world_size": 8}),
        factory.run("bld-1", "bld"),
    )
    assert all(math.isnan(one.seconds_over) for one in compare(runs) if one.against == "sft")


@pytest.mark.parametrize("failed", ["sft-1", "bld-1"])
def test_a_run_that_was_not_evaluated_takes_only_its_own_seed_from_the_comparison(factory, failed):
    inputs = {
        f"{method}-{seed}": factory.run(f"{method}-{seed}", method, seed=seed, costs=costs)
        for method in ("sft", "bld")
        for seed, costs in ((1, {"train_seconds": 500.0}), (2, {}), (3, {}))
    }
    inputs[failed].files["run/bits_per_byte"].unlink()
    (entry,) = only(compare(read(*inputs.values())))
    assert entry.seeds == [2, 3] and len(entry.by_seed) == 2
    assert (names(entry.ours), names(entry.theirs)) == (["bld-2", "bld-3"], ["sft-2", "sft-3"])
    assert entry.seconds_over == 45 / 20
