"""The referee of a rebuilding sees every number, and nothing that is told of the machine."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

SCRIPT = Path(__file__).with_name("golden.py")
RUN = "results/runs/one"
METRICS = {"step": [1, 2], "kl_loss": [0.5, 0.25], "seconds": [1.0, 2.0]}
SUMMARY = {
    "runs": [
        {"run": "one", "bits_per_byte": 1.5, "train_seconds": 3.0, "tasks": {"text": {"bits": 2.0}}}
    ]
}


@pytest.fixture(scope="module")
def golden():
    spec = importlib.util.spec_from_file_location("golden", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def made(golden, tmp_path):
    """The digests of a small folder of results, in which some are others."""

    def make(metrics=METRICS, summary=SUMMARY, weight=1.0, **storage):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        (folder / RUN).mkdir(parents=True)
        pq.write_table(pa.table(metrics), folder / RUN / "metrics.parquet", **storage)
        (folder / RUN / "summary.json").write_text(json.dumps(summary))
        (folder / RUN / "summary.record.json").write_text(json.dumps({"of": str(folder)}))
        weights = {"embed": np.ones(3, np.float32), "head": np.full(2, weight, np.float32)}
        save_file(weights, folder / RUN / "model.safetensors")
        return golden.digests(folder)

    return make


def test_what_is_made_again_is_the_same(golden, made):
    assert golden.differences(made(), made()) == []


def test_how_a_table_is_stored_does_not_count(golden, made):
    assert golden.differences(made(), made(compression="none", row_group_size=1)) == []


def test_the_last_digit_of_one_number_is_seen_and_its_column_named(golden, made):
    other = METRICS | {"kl_loss": [0.5, math.nextafter(0.25, 1)]}
    assert golden.differences(made(), made(other)) == [f"different  {RUN}/metrics.parquet: kl_loss"]


def test_in_json_the_entry_is_named_in_weights_the_tensor(golden, made):
    [run] = SUMMARY["runs"]
    other = {"runs": [run | {"tasks": {"text": {"bits": 2.5}}}]}
    assert golden.differences(made(), made(summary=other, weight=2.0)) == [
        f"different  {RUN}/model.safetensors: head.data",
        f"different  {RUN}/summary.json: runs.tasks.text.bits",
    ]


def test_times_do_not_count(golden, made):
    [run] = SUMMARY["runs"]
    summary = {"runs": [run | {"train_seconds": 4.0}]}
    assert golden.differences(made(), made(METRICS | {"seconds": [7.0, 8.0]}, summary)) == []


def test_what_is_only_on_one_side_is_named(golden, made):
    metrics = {("divergence" if name == "kl_loss" else name): of for name, of in METRICS.items()}
    assert golden.differences(made(), made(metrics)) == [
        f"missing    {RUN}/metrics.parquet: kl_loss",
        f"extra      {RUN}/metrics.parquet: divergence",
    ]


def test_what_is_declared_is_followed_and_still_compared(golden, made):
    base = made()
    new = {
        address.replace("/runs/", "/trained/").replace("#kl_loss", "#divergence"): digest
        for address, digest in made().items()
        if "#step" not in address
    } | {f"{RUN}/notes.json#words": "new"}
    declared = {"/runs/": "/trained/", "#kl_loss$": "#divergence", "#step$": None}
    assert golden.differences(base, new, declared, [r"notes\.json"]) == []
    new["results/trained/one/metrics.parquet#divergence"] = "another"
    assert golden.differences(base, new, declared, [r"notes\.json"]) == [
        "different  results/trained/one/metrics.parquet: divergence"
    ]


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_the_working_tree_computes_what_its_base_does():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
