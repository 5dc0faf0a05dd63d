"""The benchmark runs, on a model of a few thousand weights and without the beam that it compares
with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRAINING_COLUMNS = {
    *("objective", "head", "device", "tokens_per_s", "ratio_sft", "head_parameters", "peak_mib"),
    *("student", "histories", "mfu"),
}
COLUMNS = {
    *("model", "policy", "eps", "width", "vocabulary", "device", "threads", "dtype", "bytes"),
    *("bytes_per_s", "nodes_per_token", "ratio_plain", "efficiency", "ratio_genlm", "peak_mib"),
}


def run_quickly(benchmark, folder):
    output = folder / f"results/{benchmark}.json"
    command = [sys.executable, ROOT / f"benchmarks/{benchmark}.py", "--quick", "--threads", "1"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'workflow'}:{ROOT / 'tests'}"}
    done = subprocess.run(
        [*command, "--output", output], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(output.read_text())


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return run_quickly("teacher_bytes", tmp_path_factory.mktemp("bench"))


def test_the_benchmark_has_a_row_for_the_plain_forward_and_for_every_policy(rows):
    assert [(row["policy"], row["eps"], row["width"]) for row in rows] == [
        ("plain", None, None),
        ("trunk", None, None),
        *(("prefix", eps, None) for eps in (0, 1e-3, 1e-2)),
        ("beam", 1e-2, 10),
    ]
    assert all(row.keys() >= COLUMNS for row in rows)


def test_the_ratios_of_the_benchmark_are_those_of_its_rows(rows):
    plain = rows[0]
    for row in rows:
        assert row["ratio_plain"] == pytest.approx(row["bytes_per_s"] / plain["bytes_per_s"])
        assert row["efficiency"] == pytest.approx(row["ratio_plain"] * row["nodes_per_token"])
        assert row["nodes_per_token"] >= plain["nodes_per_token"] == 1


def test_fewer_histories_are_further_from_the_wide_beam(rows):
    trunk, every, *_ = rows[1:]
    assert trunk["jsd_mean"] > 10 * every["jsd_mean"] > 0
    assert all(row["bits_per_byte"] > 0 and row["true_byte_lost"] == 0 for row in rows[1:])


def test_every_byte_head_is_compared_with_fine_tuning_of_the_same_student(tmp_path):
    rows = run_quickly("training", tmp_path)
    assert [(row["student"], row["head"], row["histories"]) for row in rows] == [
        ("subword", None, None),
        ("subword", "linear", None),
        ("subword", "causal", None),
        ("subword", "marginal", "trunk"),
        ("subword", "marginal", "prefix"),
        ("bytes", None, None),
        ("bytes", "output", None),
    ]
    sft = {row["student"]: row["tokens_per_s"] for row in rows if row["objective"] == "sft"}
    for row in rows:
        assert row.keys() >= TRAINING_COLUMNS
        assert row["ratio_sft"] == pytest.approx(row["tokens_per_s"] / sft[row["student"]])
        assert (row["head_parameters"] > 0) == (row["head"] in ("linear", "causal"))


def test_another_vocabulary_is_measured(tmp_path):
    [row] = run_quickly("transfer", tmp_path)
    assert row["new_entries"] < 300 < row["old_entries"] and row["unspelt"] == 0
    assert row["transfer_s"] > 0 and row["load_s"] > 0


def test_shards_and_documents_need_few_open_files_and_no_memory_each(tmp_path):
    rows = run_quickly("scale", tmp_path)
    phases = ["write", "read", "score", "gather", "open", "check", "look up"]
    phases += ["render", "train a step", "train 10 steps"]
    assert [(row["documents"], row["phase"]) for row in rows] == [
        (documents, phase) for documents in (100, 1000) for phase in phases
    ]
    # Phases that hold shards open hold 64 of them, beside what a process has open.
    assert max(row["open_files"] for row in rows) < 110
    few, many = rows[: len(phases)], rows[len(phases) :]
    for one, other in zip(few, many, strict=True):
        assert other["peak_mib"] < one["peak_mib"] + 16
