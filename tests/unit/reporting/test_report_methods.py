"""The table of methods and the ranks, worked out again from the files of the runs by other code."""

import json
import math
import statistics

import numpy as np
import pytest

from bld.reporting.inputs import read_runs
from bld.reporting.tables import make_tables


def frames(*runs):
    return make_tables(read_runs(runs)).frames


def documents(run):
    rows = json.loads(run.files["run/bits_per_byte"].read_text())["per_document"]
    return {row["id"]: (row["nats"] / math.log(2), row["bytes"], row["group"]) for row in rows}


def by_group(values, run):
    """Sums over the documents of each group, by values in the order of documents."""
    sums = {}
    for value, (_, _, group) in zip(values, documents(run).values(), strict=True):
        sums[group] = sums.get(group, 0) + value
    return np.array(list(sums.values()))


def bits(run):
    rows = documents(run).values()
    return sum(total for total, _, _ in rows) / sum(size for _, size, _ in rows)


@pytest.fixture
def three(factory):
    """Three methods with two seeds each, listed by method and seed."""
    levels = {"sft": 2.5, "uld": 2.42, "bld": 2.46}
    return [
        factory.run(f"{method}-{seed}", method, seed=seed, level=level)
        for method, level in levels.items()
        for seed in (1, 2)
    ]


def test_methods_stand_by_their_bits_per_byte_with_means_over_seeds(three):
    table = frames(*three)["methods"]
    assert table["series"].tolist() == ["uld", "bld linear", "sft"]
    assert table["models"].tolist() == ["uld-1 uld-2", "bld-1 bld-2", "sft-1 sft-2"]
    assert table["seeds"].tolist() == ["1 2"] * 3
    sft, uld, bld = (statistics.mean(map(bits, three[at : at + 2])) for at in (0, 2, 4))
    assert table["bits_per_byte"].tolist() == pytest.approx([uld, bld, sft])
    assert table["difference"][:2].tolist() == pytest.approx([uld - sft, bld - sft])
    assert math.isnan(table["difference"][2])
    assert table["verdict"].tolist() == ["better", "better", "baseline"]


def test_the_interval_of_a_method_is_over_groups_with_the_seeds_averaged_in_each(three):
    row = frames(*three)["methods"].iloc[2]
    first, second = (documents(run) for run in three[:2])
    totals_G = by_group([(first[one][0] + second[one][0]) / 2 for one in first], three[0])
    sizes_G = by_group([first[one][1] for one in first], three[0])
    residuals_G = totals_G - sizes_G * totals_G.sum() / sizes_G.sum()
    error = math.sqrt((residuals_G**2).sum()) / sizes_G.sum()
    assert row["bits_per_byte"] - row["low"] == pytest.approx(1.96 * error, rel=0.12)
    assert row["high"] - row["bits_per_byte"] == pytest.approx(1.96 * error, rel=0.12)


def test_the_difference_of_a_method_is_that_of_its_comparison(three):
    found = frames(*three)
    rows = found["comparison"]
    rows = rows[(rows["against"] == "sft") & (rows["metric"] == "bits_per_byte")]
    by_series = found["methods"].set_index("series")
    for row in rows.itertuples():
        own = by_series.loc[row.series]
        assert (own["difference"], own["difference_low"], own["difference_high"]) == (
            row.difference,
            row.low,
            row.high,
        )


def test_costs_are_means_over_runs_and_multiples_of_those_of_sft(factory):
    costs = [
        {"train_seconds": 10.0, "peak_memory_bytes": 100, "gpu_hours": 0.5},
        {"train_seconds": 30.0, "peak_memory_bytes": 300, "gpu_hours": 0.5},
        {"train_seconds": 40.0, "peak_memory_bytes": 500, "gpu_hours": 2.0},
        {"train_seconds": 60.0, "peak_memory_bytes": 500, "gpu_hours": 1.0},
    ]
    runs = [
        factory.run(f"{method}-{seed}", method, seed=seed, costs=costs.pop(0))
        for method in ("sft", "uld")
        for seed in (1, 2)
    ]
    table = frames(*runs)["methods"].set_index("series")
    sft, uld = table.loc["sft"], table.loc["uld"]
    assert [uld[x] for x in ("train_seconds", "peak_memory_bytes", "gpu_hours")] == [50, 500, 1.5]
    over = ("train_seconds_over", "peak_memory_bytes_over", "gpu_hours_over")
    assert [uld[x] for x in over] == [2.5, 2.5, 3.0]
    assert uld["tokens_per_second_over"] == 1.0
    assert all(math.isnan(sft[x]) for x in over)


def test_costs_without_a_gpu_are_not_divided(factory):
    runs = [factory.run(one, one, costs={"gpu_hours": 0.0}) for one in ("sft", "uld")]
    assert frames(*runs)["methods"]["gpu_hours_over"].isna().all()


def test_a_method_without_sft_is_not_compared(factory):
    (row,) = frames(factory.run("uld-1", "uld"))["methods"].to_dict("records")
    assert (row["verdict"], math.isnan(row["difference"])) == ("not compared", True)
    assert row["bits_per_byte"] == pytest.approx(bits(factory.run("uld-1", "uld")))


def test_of_several_baselines_the_best_of_those_with_most_seeds_is_taken(factory):
    slow, fast = ({"steps": 60, "learning_rate": rate} for rate in (1e-5, 1e-3))
    runs = [
        factory.run("slow-1", training=slow, level=2.6),
        factory.run("slow-2", training=slow, level=2.6, seed=2),
        factory.run("fast-1", training=fast, level=2.5),
        factory.run("fast-2", training=fast, level=2.5, seed=2),
        factory.run("lone-1", level=2.3),
        factory.run("uld-1", "uld", level=2.45),
        factory.run("uld-2", "uld", level=2.45, seed=2),
    ]
    row = frames(*runs)["methods"].set_index("series").loc["uld"]
    expected = statistics.mean(map(bits, runs[5:])) - statistics.mean(map(bits, runs[2:4]))
    assert row["difference"] == pytest.approx(expected)


def test_students_have_rows_of_their_own_one_student_after_another(factory):
    runs = [
        factory.run("sft-1", level=2.5),
        factory.run("sft-m", level=2.4, student="medium"),
        factory.run("uld-1", "uld", level=2.3),
        factory.run("uld-m", "uld", level=2.6, student="medium"),
    ]
    table = frames(*runs)["methods"]
    assert table["models"].tolist() == ["uld-1", "sft-1", "sft-m", "uld-m"]


def test_a_method_whose_seeds_were_evaluated_on_other_documents_has_no_level(factory):
    ids = [f"other-{number}" for number in range(len(factory.sizes_D))]
    runs = [factory.run("sft-1"), factory.run("sft-2", seed=2, scores={"ids": ids})]
    assert frames(*runs)["methods"]["bits_per_byte"].isna().all()


def ranked_by_hand(runs):
    """The mean rank of each run's method: one more than those with fewer bits, ties shared."""
    found = {run.name: [] for run in runs}
    by_run = {run.name: documents(run) for run in runs}
    for seed in {run.settings.seed for run in runs}:
        names = [run.name for run in runs if run.settings.seed == seed]
        for one in by_run[names[0]]:
            values = {name: by_run[name][one][0] for name in names}
            for name in names:
                below = sum(value < values[name] for value in values.values())
                same = sum(value == values[name] for value in values.values())
                found[name].append(1 + below + (same - 1) / 2)
    return {name: statistics.mean(ranks) for name, ranks in found.items()}


def test_ranks_are_means_over_documents_and_seeds(three):
    table = frames(*three)["ranks"]
    by_run = ranked_by_hand(three)
    expected = {
        series: (by_run[f"{name}-1"] + by_run[f"{name}-2"]) / 2
        for series, name in {"uld": "uld", "bld linear": "bld", "sft": "sft"}.items()
    }
    assert dict(zip(table["series"], table["rank"], strict=True)) == pytest.approx(expected)
    assert table["rank"].is_monotonic_increasing
    assert table["rank"].sum() == pytest.approx(1 + 2 + 3)
    assert (table["low"] < table["rank"]).all() and (table["rank"] < table["high"]).all()
    assert set(table["seeds"]) == {"1 2"} and set(table["documents"]) == {200}


def test_methods_that_are_always_ahead_have_whole_ranks_and_ties_share_theirs(factory):
    factory.spread = 0.0
    levels = {"sft": 2.5, "uld": 2.3, "mined": 2.5, "alm": 2.6}
    runs = [factory.run(name, name, level=level) for name, level in levels.items()]
    table = frames(*runs)["ranks"].set_index("series")
    assert table["rank"].to_dict() == pytest.approx({"uld": 1, "sft": 2.5, "mined": 2.5, "alm": 4})
    assert table["low"].tolist() == table["high"].tolist() == table["rank"].tolist()


def test_the_interval_of_a_rank_agrees_with_the_error_of_its_mean(three):
    row = frames(*[run for run in three if run.name.endswith("1")])["ranks"].set_index("series")
    runs = {run.settings.method: documents(run) for run in three if run.name.endswith("1")}
    ranks = [
        1 + sum(runs[other][one][0] < runs["uld"][one][0] for other in runs) for one in runs["uld"]
    ]
    # Every group has two documents, so their mean is over groups alike.
    ranks_G = by_group(ranks, three[2]) / 2
    error = statistics.stdev(ranks_G) / math.sqrt(len(ranks_G))
    found = row.loc["uld"]
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_two_methods_are_not_ranked(factory):
    assert frames(factory.run("sft-1"), factory.run("uld-1", "uld"))["ranks"].empty


@pytest.mark.parametrize("changes", [{"student": "medium"}, {"corpus": "books"}, {"seed": 7}])
def test_methods_of_another_student_corpus_or_seed_are_not_ranked_with_others(factory, changes):
    runs = [factory.run("sft-1"), factory.run("uld-1", "uld"), factory.run("b", "bld", **changes)]
    assert frames(*runs)["ranks"].empty


def test_methods_that_were_evaluated_on_other_documents_are_not_ranked_with_others(factory):
    ids = [f"other-{number}" for number in range(len(factory.sizes_D))]
    runs = [factory.run(one, one) for one in ("sft", "uld", "mined")]
    other = factory.run("alm", "alm", scores={"ids": ids})
    assert frames(*runs, other)["ranks"]["models"].tolist().count("alm") == 0
    assert len(frames(*runs, other)["ranks"]) == 3


def test_as_many_methods_and_seeds_are_ranked_as_there_are(three, factory):
    late = factory.run("alm-1", "alm")
    table = frames(*three, late)["ranks"]
    assert set(table["seeds"]) == {"1 2"} and "alm" not in set(table["series"])
    alone = [run for run in three if run.name != "uld-2"]
    table = frames(*alone, late)["ranks"]
    assert set(table["seeds"]) == {"1"} and len(table) == 4


def test_the_page_shows_methods_with_costs_and_how_many_times_those_of_sft(build, three):
    page = build(*three, figures=["ranks"])
    uld, *_ = page.table("methods")
    assert uld[0] == "ULD" and uld[1] == "1 2" and uld[4] == "better"
    assert uld[5] == "452.25 \u00d7" and uld[8] == "1.501.50 \u00d7"
    *_, sft = page.table("methods")
    assert sft[3] == "\u2013" and sft[4] == "the baseline" and sft[5] == "20"
    assert (page.folder / "ranks.svg").exists()


def test_gpu_hours_are_left_out_where_there_was_no_gpu(build, factory):
    page = build(factory.run("sft-1", costs={"gpu_hours": 0.0}))
    (row,) = page.table("methods")
    assert len(row) == 8


def test_a_method_tells_of_the_seeds_that_were_evaluated(three):
    uld_1, uld_2 = three[2:4]
    uld_1.files["run/bits_per_byte"].unlink()
    row = frames(*three)["methods"].set_index("series").loc["uld"]
    assert (row["models"], row["seeds"]) == ("uld-2", "2")
    assert row["bits_per_byte"] == pytest.approx(bits(uld_2))
    assert row["difference"] == pytest.approx(bits(uld_2) - bits(three[1]))


def test_a_method_of_which_nothing_was_evaluated_has_its_runs_and_their_costs(three):
    for run in three[2:4]:
        run.files["run/bits_per_byte"].unlink()
    row = frames(*three)["methods"].set_index("series").loc["uld"]
    assert (row["models"], row["verdict"]) == ("uld-1 uld-2", "not compared")
    assert math.isnan(row["bits_per_byte"]) and row["train_seconds"] == 45
