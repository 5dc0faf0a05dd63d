"""Columns of the CSV files, worked out again from the files of the runs by other code."""

import csv
import json
import math

import numpy as np
import pytest

TASKS = {"bits_per_byte": ("nats", "bytes"), "byte_divergence": ("jsd", "symbols")}
RESAMPLES = 3000


def found(run, key):
    path = run.files.get(key)
    return json.loads(path.read_text()) if path else None


def rows_of(whole, table):
    with open(whole.folder / f"{table}.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert rows
    return rows


def evaluated(whole):
    """Key prefix and run by the name of the model."""
    runs = whole.runs
    return {"large": ("teacher", runs[0]), "small": ("student", runs[0])} | {
        run.name: ("run", run) for run in runs
    }


def figures(whole, row, task):
    whose, run = evaluated(whole)[row["model"]]
    return found(run, f"{whose}/{task}")


def sums(per_document, task):
    """(total, size, group) by document, in bits where bytes are counted."""
    found = {}
    for row in per_document:
        if task == "byte_jsd":
            pair = row["jsd"], row["symbols"]
        elif task == "bits_per_byte":
            pair = row["nats"] / math.log(2), row["bytes"]
        else:
            pair = row["value"] / (math.log(2) if "bytes" in row else 1), row.get("bytes", 1)
        found[row["id"]] = (*pair, row["group"])
    return found


def ratio(rows):
    return sum(total for total, _, _ in rows) / sum(size for _, size, _ in rows)


def check_interval(row, rows):
    """An own bootstrap: groups drawn by index, another generator and seed."""
    groups = {}
    for total, size, group in rows:
        before = groups.get(group, (0, 0))
        groups[group] = before[0] + total, before[1] + size
    pairs_G2 = np.array(list(groups.values()))
    drawn_RG = np.random.Generator(np.random.Philox(99)).integers(
        0, len(pairs_G2), (RESAMPLES, len(pairs_G2))
    )
    totals_R, sizes_R = (pairs_G2[drawn_RG, column].sum(axis=1) for column in (0, 1))
    low, high = np.percentile(totals_R / sizes_R, [2.5, 97.5])
    assert float(row["low"]) == pytest.approx(low, abs=0.15 * (high - low))
    assert float(row["high"]) == pytest.approx(high, abs=0.15 * (high - low))


def close(text, value):
    if value is None:
        return text == ""
    return float(text) == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_models_follow_from_their_own_files(whole):
    rows = rows_of(whole, "models")
    assert [row["model"] for row in rows] == ["large", "small", *(run.name for run in whole.runs)]
    start = ratio(
        list(
            sums(
                found(whole.runs[0], "student/bits_per_byte")["per_document"], "bits_per_byte"
            ).values()
        )
    )
    for row in rows:
        whose, run = evaluated(whole)[row["model"]]
        pairs = list(
            sums(figures(whole, row, "bits_per_byte")["per_document"], "bits_per_byte").values()
        )
        assert close(row["bits_per_byte"], ratio(pairs))
        check_interval(row, pairs)
        assert close(row["change"], ratio(pairs) - start if whose == "run" else None)
        assert row["seed"] == (str(run.settings.seed) if whose == "run" else "")
        divergence = found(
            run, "run/byte_divergence" if whose == "teacher" else f"{whose}/byte_divergence"
        )
        own = "teacher" if whose == "teacher" else "student"
        documents, bins = divergence["per_document"], divergence["models"][own]["calibration"]
        symbols = sum(one["symbols"] for one in documents)
        nats = sum(one["nats"][own] for one in documents)
        by_bytes = nats / sum(one["bytes"] for one in documents) / math.log(2)
        gaps = sum(one["symbols"] * abs(one["confidence"] - one["accuracy"]) for one in bins)
        assert close(row["bits_per_byte_by_bytes"], by_bytes)
        assert close(row["calibration_error"], gaps / sum(one["symbols"] for one in bins))
        for column in ("jsd", "kl"):
            mean = sum(one[column] for one in documents) / symbols
            assert close(row[f"byte_{column}"], mean if whose != "teacher" else None)


def test_comparisons_follow_from_documents_that_are_paired(whole):
    rows = rows_of(whole, "comparison")
    assert len(rows) == 3 + 3 * 4
    costs = {run.name: found(run, "training") for run in whole.runs}
    for row in rows:
        metric = row["metric"]
        task = "byte_divergence" if metric == "byte_jsd" else metric
        of_seeds = []
        for ours, theirs in zip(row["models"].split(), row["against_models"].split(), strict=True):
            one, other = (
                sums(figures(whole, {"model": name}, task)["per_document"], metric)
                for name in (ours, theirs)
            )
            assert one.keys() == other.keys()
            of_seeds.append({key: (one[key][0] - other[key][0], *one[key][1:]) for key in one})
        by_seed = [ratio(list(pairs.values())) for pairs in of_seeds]
        assert list(map(float, row["difference_by_seed"].split())) == pytest.approx(by_seed)
        assert close(row["difference"], sum(by_seed) / len(by_seed))
        means = [
            (sum(pairs[key][0] for pairs in of_seeds) / len(of_seeds), *of_seeds[0][key][1:])
            for key in of_seeds[0]
        ]
        check_interval(row, means)
        low, high, higher = float(row["low"]), float(row["high"]), metric == "recall"
        assert row["verdict"] == (
            "not shown" if low <= 0 <= high else "better" if (low > 0) == higher else "worse"
        )
        if row["against"] == "untrained student":
            assert row["seeds"] == row["seconds_over"] == row["memory_over"] == ""
            continue
        for column, cost in (
            ("seconds_over", "train_seconds"),
            ("memory_over", "peak_memory_bytes"),
        ):
            ours, theirs = (
                sum(costs[name][cost] for name in row[names].split())
                for names in ("models", "against_models")
            )
            assert close(row[column], ours / theirs)


def test_benchmarks_follow_from_their_questions(whole):
    rows = rows_of(whole, "benchmarks")
    assert len(rows) == 2 * 8
    for row in rows:
        of_task = figures(whole, row, row["benchmark"])
        pairs = list(sums(of_task["per_document"], row["benchmark"]).values())
        assert close(row["value"], ratio(pairs))
        check_interval(row, pairs)
        assert close(row["stderr"], of_task["stderr"])
        assert row["higher_is_better"] == str(of_task["higher_is_better"])
        assert row["metric"] == of_task["metric"] and row["harness"] == "lm_eval 0.4.9"
        assert (int(row["documents"]), row["few_shot"], row["limit"]) == (len(pairs), "3", "")


def test_costs_are_those_of_the_trainings(whole):
    rows = rows_of(whole, "costs")
    assert [row["run"] for row in rows] == [run.name for run in whole.runs]
    columns = (
        "train_seconds train_tokens tokens_per_second gpu_hours peak_memory_bytes head_parameters"
    )
    for row, run in zip(rows, whole.runs, strict=True):
        training = found(run, "training")
        assert all(close(row[name], training[name]) for name in columns.split())
        assert row["device"] == training["device"]


def test_bits_per_byte_by_kind_follow_from_the_documents_of_the_kind(whole):
    rows = rows_of(whole, "bits_per_byte")
    assert len(rows) == 4 * 8
    for row in rows:
        documents = [
            one
            for one in figures(whole, row, "bits_per_byte")["per_document"]
            if row["kind"] in ("all", one["kind"])
        ]
        pairs = list(sums(documents, "bits_per_byte").values())
        assert close(row["bits_per_byte"], ratio(pairs))
        check_interval(row, pairs)
        assert int(row["bytes"]) == sum(one["bytes"] for one in documents)
        assert int(row["documents"]) == len(documents)


def test_divergences_follow_from_documents_and_places(whole):
    rows = rows_of(whole, "divergence")
    assert {row["model"] for row in rows} == {"small", *(run.name for run in whole.runs)}
    for row in rows:
        of_task = figures(whole, row, "byte_divergence")
        places = {str(one["position"]): one for one in of_task["by_position"]}
        if row["of"] == "head":
            head = of_task["head"]
            heads = {"all": head} | {str(one["position"]): one for one in head["by_position"]}
            expected = heads[row["group"]]
            bits = {"student": expected["bits_per_byte"], "teacher": None}
        elif row["by"] == "head":
            # The model itself, at the bytes that its head sees.
            same = of_task["head"]["student_same"]
            expected = {"symbols": of_task["head"]["symbols"], "kl": None, "jsd": same["jsd"]}
            bits = {"student": same["bits_per_byte"], "teacher": None}
        elif row["by"] == "position":
            expected = places[row["group"]]
            bits = expected["bits_per_byte"]
        else:
            documents = [
                one for one in of_task["per_document"] if row["group"] in ("all", one["kind"])
            ]
            symbols, size = (sum(one[name] for one in documents) for name in ("symbols", "bytes"))
            expected = {"symbols": symbols} | {
                name: sum(one[name] for one in documents) / symbols for name in ("jsd", "kl")
            }
            bits = {
                who: sum(one["nats"][who] for one in documents) / size / math.log(2)
                for who in ("teacher", "student")
            }
        assert all(close(row[name], expected[name]) for name in ("symbols", "jsd", "kl"))
        assert all(close(row[f"{who}_bits_per_byte"], bits[who]) for who in bits)
    groups = {(row["of"], row["by"]) for row in rows if row["model"] == "bld-1"}
    assert groups == {
        ("model", "all"),
        ("model", "kind"),
        ("model", "position"),
        ("model", "head"),
        ("head", "all"),
        ("head", "position"),
    }


def test_calibration_is_that_of_both_models_and_of_the_head(whole):
    rows = rows_of(whole, "calibration")
    for row in rows:
        of_task = figures(whole, row, "byte_divergence")
        part = of_task["head"] if row["of"] == "head" else of_task["models"][row["of"]]
        (same,) = (one for one in part["calibration"] if close(row["low"], one["low"]))
        assert all(close(row[name], same[name]) for name in same)
    counts = {
        run.name: 30 if found(run, "run/byte_divergence")["head"] else 20 for run in whole.runs
    }
    assert {name: sum(row["model"] == name for row in rows) for name in counts} == counts
