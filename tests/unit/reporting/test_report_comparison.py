import dataclasses
import math

import numpy as np
import pytest

from bld.reporting.comparison import compare, difference
from bld.reporting.inputs import read_run


def read(*inputs):
    return [read_run(one) for one in inputs]


def test_a_method_is_compared_with_sft_of_the_same_student_corpus_and_seed(factory):
    runs = read(
        factory.run("sft-1", "sft", seed=1),
        factory.run("sft-2", "sft", seed=2),
        factory.run("bld-2", "bld", seed=2),
        factory.run("bld-1", "bld", seed=1),
        factory.run("bld-3", "bld", seed=3),
        factory.run("bld-other", "bld", seed=1, student="medium"),
    )
    (entry,) = compare(runs)
    assert entry.method == "bld"
    assert entry.seeds == [1, 2]
    assert entry.runs == ["bld-1", "bld-2"]
    assert entry.baseline_runs == ["sft-1", "sft-2"]


def test_a_difference_is_the_mean_over_seeds_of_method_less_sft(factory):
    runs = read(
        factory.run("sft-1", "sft", seed=1, level=2.5),
        factory.run("sft-2", "sft", seed=2, level=2.6),
        factory.run("bld-1", "bld", seed=1, level=2.4),
        factory.run("bld-2", "bld", seed=2, level=2.3),
    )
    (entry,) = compare(runs)
    by_name = {run.name: run.tasks["bits_per_byte"]["bits_per_byte"] for run in runs}
    by_seed = [by_name["bld-1"] - by_name["sft-1"], by_name["bld-2"] - by_name["sft-2"]]
    assert entry.by_seed == pytest.approx(by_seed)
    assert entry.difference.value == pytest.approx(sum(by_seed) / 2)
    assert entry.difference.low < entry.difference.value < entry.difference.high


def test_documents_are_drawn_together_so_their_shared_difficulty_cancels(factory):
    first, second = read(factory.run("a", level=2.4), factory.run("b", level=2.5))
    estimate = difference([first.scores], [second.scores])
    assert estimate.low == pytest.approx(-0.1)
    assert estimate.high == pytest.approx(-0.1)


def test_settings_apart_from_seeds_are_compared_apart(factory):
    def settings(seed, weight):
        return {"training": {"seed": seed}, "bld": {"kl_weight": weight}}

    runs = read(
        factory.run("sft-1", seed=1, settings=settings(1, 0.1)),
        factory.run("sft-2", seed=2, settings=settings(2, 0.1)),
        factory.run("bld-1", "bld", seed=1, settings=settings(1, 0.1)),
        factory.run("bld-2", "bld", seed=2, settings=settings(2, 0.1)),
        factory.run("heavy-1", "bld", seed=1, settings=settings(1, 1.0)),
    )
    assert [entry.runs for entry in compare(runs)] == [["bld-1", "bld-2"], ["heavy-1"]]


def test_two_runs_that_differ_in_nothing_but_their_names_are_an_error(factory):
    runs = read(factory.run("bld-a", "bld"), factory.run("bld-b", "bld"))
    with pytest.raises(ValueError, match="'bld-a' and 'bld-b'"):
        compare(runs)


def test_other_documents_are_an_error_that_names_the_first(factory):
    ids = [f"doc-{index:03d}" for index in range(len(factory.bytes_D))]
    ids[7] = "doc-900"
    other = {"bits_per_byte": factory.scores("other", 2.4, ids=ids)}
    runs = read(factory.run("sft-1"), factory.run("bld-1", "bld", evaluation=other))
    with pytest.raises(ValueError, match="'doc-007' was scored for 'sft-1' and not for 'bld-1'"):
        compare(runs)


def test_the_same_document_with_another_length_is_an_error_that_names_it(factory):
    sizes = factory.bytes_D + (np.arange(len(factory.bytes_D)) == 4)
    other = {"bits_per_byte": factory.scores("other", 2.4, bytes_D=sizes)}
    runs = read(factory.run("sft-1"), factory.run("bld-1", "bld", evaluation=other))
    with pytest.raises(ValueError, match=r"'doc-004' has .* bytes for 'bld-1'"):
        compare(runs)


def test_a_document_that_was_scored_twice_is_an_error_that_names_it(factory):
    ids = [f"doc-{index:03d}" for index in range(len(factory.bytes_D))]
    ids[7] = "doc-003"
    run = read_run(
        factory.run("a", evaluation={"bits_per_byte": factory.scores("b", 2.4, ids=ids)})
    )
    with pytest.raises(ValueError, match="'doc-003' was scored twice for 'a'"):
        difference([run.scores], [run.scores])


def test_the_order_of_documents_in_a_file_does_not_matter(factory):
    run = read_run(factory.run("a"))
    reordered = dataclasses.replace(
        run.scores, figures={"per_document": run.scores.figures["per_document"][::-1]}
    )
    estimate = difference([run.scores], [reordered])
    assert math.isclose(estimate.value, 0)
