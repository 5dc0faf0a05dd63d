import json
import math

import pandas as pd
import pytest

from bld.reporting.inputs import RunInputs
from bld.reporting.report import build_report
from bld.reporting.tables import read_tables

RUN_KEYS = {
    "run", "method", "head", "seed", "student", "teacher", "bits_per_byte", "teacher_bits_per_byte",
    "student_bits_per_byte", "byte_jsd", "tasks", "train_seconds", "train_tokens", "gpu_hours",
    "head_parameters",
}  # fmt: skip
COMPARISON_KEYS = {"method", "head", "against", "metric", "difference", "low", "high", "seeds"}


def bits_per_byte(path):
    documents = json.loads(path.read_text())["per_document"]
    nats = sum(document["nats"] for document in documents)
    return nats / sum(document["bytes"] for document in documents) / math.log(2)


def summary(runs, output):
    build_report(runs, [], "A title", output)
    return json.loads((output / "summary.json").read_text())


def test_the_summary_holds_what_its_contract_says(factory, tmp_path):
    runs = [factory.run("sft-1", level=2.5), factory.run("bld-1", "bld", level=2.4)]
    found = summary(runs, tmp_path / "report")
    assert found.keys() == {"runs", "comparison"}
    assert all(run.keys() == RUN_KEYS for run in found["runs"])
    bld = found["runs"][1]
    assert (bld["run"], bld["method"], bld["seed"]) == ("bld-1", "bld", 1)
    assert (bld["student"], bld["teacher"], bld["byte_jsd"]) == ("small", "large", 0.04)
    assert (bld["train_seconds"], bld["train_tokens"], bld["gpu_hours"]) == (20.0, 61000, 0.25)
    ends = [bits_per_byte(run.evaluation["bits_per_byte"]) for run in runs]
    teacher = bits_per_byte(runs[1].teacher_evaluation["bits_per_byte"])
    student = bits_per_byte(runs[1].student_evaluation["bits_per_byte"])
    assert bld["bits_per_byte"] == pytest.approx(ends[1])
    assert bld["teacher_bits_per_byte"] == pytest.approx(teacher)
    assert bld["student_bits_per_byte"] == pytest.approx(student)
    (entry,) = found["comparison"]
    assert entry.keys() == COMPARISON_KEYS
    assert (entry["method"], entry["against"], entry["seeds"]) == ("bld", "sft", [1])
    assert entry["metric"] == "bits_per_byte"
    assert entry["difference"] == pytest.approx(ends[1] - ends[0])


def test_tasks_hold_every_number_of_an_evaluation(factory, tmp_path):
    run = factory.run("sft-1")
    piqa = factory.write("piqa.json", {"task": "piqa", "acc": 0.7, "acc_stderr": 0.01, "ok": True})
    run = RunInputs(**(vars(run) | {"evaluation": {**run.evaluation, "piqa": piqa}}))
    tasks = summary([run], tmp_path / "report")["runs"][0]["tasks"]
    assert tasks["piqa"] == {"acc": 0.7, "acc_stderr": 0.01}
    assert tasks["byte_divergence"] == {"jsd": 0.04, "kl": 0.17}
    assert pd.read_csv(tmp_path / "report/runs.csv")["piqa.acc"].tolist() == [0.7]


def test_a_missing_teacher_is_null_in_the_summary(factory, tmp_path):
    run = factory.run("sft-1", teacher=None, teacher_evaluation=None)
    run = RunInputs(
        **(vars(run) | {"evaluation": {"bits_per_byte": run.evaluation["bits_per_byte"]}})
    )
    (found,) = summary([run], tmp_path / "report")["runs"]
    assert found["teacher"] is None
    assert found["teacher_bits_per_byte"] is None
    assert found["byte_jsd"] is None


def test_one_document_gives_a_difference_with_null_bounds(factory, tmp_path):
    factory.bytes_D, factory.difficulty_D = factory.bytes_D[:1], factory.difficulty_D[:1]
    runs = [factory.run("sft-1"), factory.run("bld-1", "bld")]
    (entry,) = summary(runs, tmp_path / "report")["comparison"]
    assert entry["low"] is None and entry["high"] is None


def test_a_run_without_bits_per_byte_is_an_error_that_names_it(factory):
    run = factory.run("sft-1", evaluation={})
    with pytest.raises(ValueError, match="run 'sft-1' has no bits_per_byte"):
        read_tables([run])


def test_a_report_of_no_runs_is_an_error():
    with pytest.raises(ValueError, match="needs a run"):
        read_tables([])


def test_loss_curves_count_steps_within_a_phase_and_leave_out_absent_parts(factory):
    loss = read_tables([factory.run("sft-1"), factory.run("bld-1", "bld")]).loss
    steps = loss.groupby(["run", "phase", "part"])["step"].agg(["min", "max"])
    assert {key: tuple(row) for key, row in steps.iterrows()} == {
        ("sft-1", "distill", "token"): (1, 60),
        ("bld-1", "warmup", "byte"): (1, 20),
        ("bld-1", "distill", "token"): (1, 60),
        ("bld-1", "distill", "byte"): (1, 60),
        ("bld-1", "distill", "kl"): (1, 60),
    }


def test_the_running_mean_is_over_a_twentieth_of_the_steps(factory):
    loss = read_tables([factory.run("sft-1")]).loss
    assert loss["running_mean"][29] == pytest.approx(loss["loss"][28:31].mean())


def test_bits_per_byte_by_kind_add_up_to_the_whole(factory):
    table = read_tables([factory.run("sft-1")]).bits_per_byte
    for _, rows in table.groupby("model"):
        whole, kinds = rows[rows["kind"] == "all"].iloc[0], rows[rows["kind"] != "all"]
        assert kinds["bytes"].sum() == whole["bytes"]
        weighted = (kinds["bits_per_byte"] * kinds["bytes"]).sum() / whole["bytes"]
        assert weighted == pytest.approx(whole["bits_per_byte"])


def test_teachers_and_students_that_runs_share_stand_in_the_table_once(factory):
    table = read_tables([factory.run("sft-1"), factory.run("bld-1", "bld")]).bits_per_byte
    overall = table[table["kind"] == "all"]
    assert overall["model"].tolist() == ["large", "small", "sft-1", "bld-1"]
    assert overall["series"].tolist() == ["teacher", "untrained student", "sft", "bld linear"]
