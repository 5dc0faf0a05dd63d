import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bld.reporting.inputs import read_runs
from bld.reporting.series import flat
from bld.reporting.tables import make_tables
from bld.reporting.words import COLUMNS

RUN_KEYS = {
    "run",
    "method",
    "head",
    "seed",
    "student",
    "teacher",
    "bits_per_byte",
    "teacher_bits_per_byte",
    "student_bits_per_byte",
    "byte_jsd",
    "tasks",
    "train_seconds",
    "train_tokens",
    "gpu_hours",
    "head_parameters",
    "series",
    "corpus",
}
COMPARISON_KEYS = {
    "method",
    "head",
    "series",
    "against",
    "metric",
    "student",
    "corpus",
    "models",
    "against_models",
    "difference",
    "low",
    "high",
    "seeds",
}


def tables(*runs):
    return make_tables(read_runs(runs))


def bits_per_byte(path):
    documents = json.loads(path.read_text())["per_document"]
    nats = sum(document["nats"] for document in documents)
    return nats / sum(document["bytes"] for document in documents) / math.log(2)


def test_the_summary_holds_what_its_contract_says(factory, build):
    runs = [factory.run("sft-1", level=2.5), factory.run("bld-1", "bld", level=2.4)]
    found = json.loads((build(*runs).folder / "summary.json").read_text())
    assert found.keys() == {"runs", "comparison"}
    assert all(run.keys() == RUN_KEYS for run in found["runs"])
    sft, bld = found["runs"]
    assert (bld["run"], bld["method"], bld["head"], bld["seed"]) == ("bld-1", "bld", "linear", 1)
    assert (sft["method"], sft["head"]) == ("sft", None)
    assert (bld["student"], bld["teacher"]) == ("small", "large")
    assert (bld["train_seconds"], bld["train_tokens"], bld["gpu_hours"]) == (45.0, 61000, 0.25)
    ends = [bits_per_byte(run.files["run/bits_per_byte"]) for run in runs]
    assert bld["bits_per_byte"] == pytest.approx(ends[1])
    for who in ("teacher", "student"):
        value = bits_per_byte(runs[1].files[f"{who}/bits_per_byte"])
        assert bld[f"{who}_bits_per_byte"] == pytest.approx(value)
    of_bytes = json.loads(runs[1].files["run/byte_divergence"].read_text())
    assert bld["byte_jsd"] == of_bytes["jsd"]
    entries = {entry["metric"]: entry for entry in found["comparison"]}
    assert entries.keys() == {"bits_per_byte", "byte_jsd", "recall", "prose"}
    entry = entries["bits_per_byte"]
    assert entry.keys() == COMPARISON_KEYS
    assert (entry["method"], entry["head"]) == ("bld", "linear")
    assert (entry["against"], entry["seeds"]) == ("sft", [1])
    assert (entry["student"], entry["corpus"]) == ("small", "docs")
    assert (entry["models"], entry["against_models"]) == (["bld-1"], ["sft-1"])
    assert entry["difference"] == pytest.approx(ends[1] - ends[0])
    assert entry["low"] < entry["difference"] < entry["high"]


def test_tasks_hold_every_number_of_a_measure_and_the_metrics_of_a_benchmark(factory):
    run = factory.run("sft-1")
    figures = {
        key: json.loads(path.read_text())
        for key, path in run.files.items()
        if key.startswith("run/")
    }
    tasks = tables(run).summary()["runs"][0]["tasks"]
    assert tasks["recall"] == figures["run/recall"]["metrics"]
    for name in ("symbols", "bytes", "documents", "jsd", "kl"):
        assert tasks["byte_divergence"][name] == figures["run/byte_divergence"][name]
    assert tasks["text"] == {}


def test_what_was_not_measured_is_null_in_the_summary(factory):
    run = factory.run("sft-1", teacher=None)
    for path in run.files.values():
        path.unlink()
    (found,) = tables(run).summary()["runs"]
    known = {name for name, value in found.items() if value is not None}
    assert known == {"run", "method", "series", "seed", "student", "corpus", "tasks"}
    assert found["tasks"] == {}


def test_one_document_gives_a_difference_with_null_bounds(factory):
    factory.sizes_D, factory.difficulty_D = factory.sizes_D[:1], factory.difficulty_D[:1]
    found = tables(factory.run("sft-1"), factory.run("bld-1", "bld")).summary()["comparison"]
    assert found[0]["low"] is None and found[0]["high"] is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_report_of_no_runs_is_an_error():
    with pytest.raises(ValueError, match="needs a run"):
        make_tables([])


def test_all_frames_have_the_columns_that_they_are_said_to_have(factory):
    for runs in ([factory.run("sft-1")], [factory.run("sft-1"), factory.run("bld-1", "bld")]):
        frames = tables(*runs).frames
        assert {name: list(frame) for name, frame in frames.items()} == {
            name: columns.split() for name, columns in COLUMNS.items()
        }


def test_empty_frames_have_their_columns_too(factory):
    run = factory.run("sft-1")
    for path in run.files.values():
        path.unlink()
    frames = tables(run).frames
    assert [name for name, frame in frames.items() if len(frame)] == [
        "models",
        "methods",
        "costs",
        "settings",
    ]
    assert all(list(frames[name]) == COLUMNS[name].split() for name in COLUMNS)


def test_loss_curves_count_steps_within_a_phase_and_leave_out_absent_parts(factory):
    loss = tables(factory.run("sft-1"), factory.run("bld-1", "bld")).frames["loss"]
    steps = loss.groupby(["run", "phase", "part"])["step"].agg(["min", "max"])
    assert {key: tuple(row) for key, row in steps.iterrows()} == {
        ("sft-1", "distill", "token"): (1, 60),
        ("sft-1", "distill", "development"): (20, 60),
        ("bld-1", "warmup", "byte"): (1, 20),
        ("bld-1", "distill", "token"): (1, 60),
        ("bld-1", "distill", "byte"): (1, 60),
        ("bld-1", "distill", "kl"): (1, 60),
        ("bld-1", "distill", "development"): (20, 60),
    }


def test_loss_curves_hold_the_losses_of_the_metrics(factory):
    run = factory.run("bld-1", "bld")
    loss, metrics = tables(run).frames["loss"], pd.read_parquet(run.files["metrics"])
    kl = loss[loss["part"] == "kl"]["loss"]
    assert kl.tolist() == metrics["kl_loss"].dropna().tolist()


def test_the_running_mean_is_over_a_twentieth_of_the_steps(factory):
    loss = tables(factory.run("sft-1")).frames["loss"]
    token = loss[loss["part"] == "token"].reset_index()
    assert token["running_mean"][29] == pytest.approx(token["loss"][28:31].mean())


def test_bits_per_byte_by_kind_add_up_to_the_whole(factory):
    table = tables(factory.run("sft-1")).frames["bits_per_byte"]
    for _, rows in table.groupby("model"):
        whole, kinds = rows[rows["kind"] == "all"].iloc[0], rows[rows["kind"] != "all"]
        assert kinds["bytes"].sum() == whole["bytes"]
        weighted = (kinds["bits_per_byte"] * kinds["bytes"]).sum() / whole["bytes"]
        assert weighted == pytest.approx(whole["bits_per_byte"])


def test_teachers_and_students_that_runs_share_stand_in_the_table_once(factory):
    models = tables(factory.run("sft-1"), factory.run("bld-1", "bld")).frames["models"]
    assert models["model"].tolist() == ["large", "small", "sft-1", "bld-1"]
    assert models["series"].tolist() == ["teacher", "untrained student", "sft", "bld linear"]


def test_models_have_a_row_for_every_corpus_with_the_figures_of_that_corpus(factory):
    runs = factory.run("sft-1"), factory.run("sft-2", corpus="books", level=2.8)
    factory.edit(runs[1].files["student/byte_divergence"], jsd=0.5)
    table = tables(*runs).frames["models"]
    starts = table[table["series"] == "untrained student"]
    assert starts["corpus"].tolist() == ["docs", "books"]
    assert starts["byte_jsd"].iloc[1] == 0.5 != starts["byte_jsd"].iloc[0]


@pytest.mark.parametrize("whose", ["student", "teacher"])
def test_what_bytes_cost_by_bytes_is_of_the_corpus_that_it_was_measured_on(factory, whose):
    runs = factory.run("sft-1"), factory.run("sft-2", corpus="books")
    expected = []
    for run, bits in zip(runs, (2.0, 4.0), strict=True):
        for key in ("run/byte_divergence", "student/byte_divergence"):
            models = json.loads(run.files[key].read_text())["models"]
            models[whose] |= {"bits_per_byte": bits}
            factory.edit(run.files[key], models=models)
        expected.append(bits)
    table = tables(*runs).frames["models"]
    series = {"student": "untrained student", "teacher": "teacher"}[whose]
    rows = table[table["series"] == series]
    assert rows["bits_per_byte_by_bytes"].tolist() == expected


def test_what_bytes_cost_the_teacher_is_known_from_any_run_that_was_held_against_it(factory):
    runs = factory.run("sft-1"), factory.run("bld-1", "bld")
    runs[1].files["run/byte_divergence"].unlink()
    known = json.loads(runs[0].files["run/byte_divergence"].read_text())["models"]["teacher"]
    row = tables(*runs).frames["models"].iloc[0]
    assert row["series"] == "teacher"
    assert row["bits_per_byte_by_bytes"] == known["bits_per_byte"]


def test_texts_are_shown_of_one_run_of_each_method(factory):
    runs = [factory.run("sft-1"), factory.run("sft-2", seed=2), factory.run("bld-1", "bld")]
    frames = tables(*runs).frames
    for name in ("completions", "surprise"):
        assert list(frames[name]["model"].unique()) == ["large", "small", "sft-1", "bld-1"]


def test_settings_that_were_changed_have_dotted_names_and_those_shown_apart_are_left_out(factory):
    changed = {"seed": 1, "method": "bld", "bld": {"head": "causal", "window": {"size": 3}}}
    run = replace(factory.run("bld-1", "bld"), changed=changed)
    settings = tables(run).frames["settings"]
    assert settings.to_dict("records") == [
        {"setting": "bld.head", "run": "bld-1", "value": "causal"},
        {"setting": "bld.window.size", "run": "bld-1", "value": 3},
    ]
    assert dict(flat(changed))["bld.window.size"] == 3


def test_evaluations_of_another_model_are_left_out(factory):
    run = factory.run("sft-1")
    factory.edit(run.files["run/recall"], model_sha256="0" * 64)
    (read,) = read_runs([run])
    assert read.outdated == ["recall"]
    assert "recall" not in read.model.results and "prose" in read.model.results


def test_a_model_that_was_trained_anew_leaves_all_its_evaluations_out(factory):
    run = factory.run("sft-1")
    run.files["model"].write_text("another")
    (read,) = read_runs([run])
    assert len(read.outdated) == 5 and read.model.results == {}
    assert read.student.results and read.teacher.results


def test_numbers_of_a_csv_file_are_those_of_the_frame(factory, build):
    runs = factory.run("sft-1"), factory.run("bld-1", "bld")
    frame = tables(*runs).frames["comparison"]
    read = pd.read_csv(build(*runs).folder / "comparison.csv")
    for column in ("difference", "low", "high", "seconds_over"):
        assert np.array_equal(read[column], frame[column], equal_nan=True)
