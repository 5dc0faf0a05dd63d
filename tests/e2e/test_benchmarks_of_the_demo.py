"""The demo's benchmarks against the harness by hand, on the folders that came out, and against our
own bits per byte."""

import json
import math

import pytest
import yaml
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager


@pytest.mark.parametrize("benchmark, limit", [("next_line", None), ("next_word", 20)])
def test_what_a_benchmark_found_is_what_the_harness_finds_by_hand(
    demo, monkeypatch, benchmark, limit
):
    results = demo.folder / "results"
    task = results / "benchmarks" / benchmark
    model = results / "runs/bld_marginal/model"
    monkeypatch.chdir(task)
    by_hand = simple_evaluate(
        HFLM(pretrained=str(model), dtype="float32", device="cpu", batch_size=8),
        tasks=[benchmark],
        limit=limit,
        task_manager=TaskManager(include_path=str(task), include_defaults=False),
    )
    found = json.loads((results / f"runs/bld_marginal/evaluation/{benchmark}.json").read_text())
    assert found["harness"]["task_hashes"].keys() == {benchmark}
    metric = found["metric"]
    if limit:
        values = [row["value"] for row in found["per_document"][:limit]]
        samples = [sample[metric.split(",")[0]] for sample in by_hand["samples"][benchmark]]
        assert values == samples
        return
    entry = by_hand["results"][benchmark]
    assert found["value"] == pytest.approx(entry[f"{metric},none"], abs=1e-12)
    assert found["stderr"] == pytest.approx(entry[f"{metric}_stderr,none"], abs=1e-12)


@pytest.mark.parametrize(
    "model",
    ["evaluation/teachers/demo", "evaluation/students/swapped", "runs/bld_marginal/evaluation"],
)
def test_bits_per_byte_by_tokens_are_those_of_the_harness_on_the_same_text(demo, model):
    results = demo.folder / "results"
    text = results / "benchmarks/harness_bits/documents.jsonl"
    ids = [json.loads(line)["id"] for line in text.open(encoding="utf-8")]
    where = "" if model.startswith("runs") else "python_docs/validation"
    ours = json.loads((results / model / where / "bits_per_byte.json").read_text())
    by_id = {row["id"]: row for row in ours["per_document"]}
    harness = json.loads((results / model / "harness_bits.json").read_text())
    configuration = yaml.safe_load((demo.folder / "config/config.yaml").read_text())
    asked = configuration["benchmarks"]["harness_bits"]["local"]["documents"]
    assert len(harness["per_document"]) == len(ids) == asked
    size = sum(by_id[one]["bytes"] for one in ids)
    assert size == sum(row["bytes"] for row in harness["per_document"])
    nats = sum(by_id[one]["nats"] for one in ids)
    assert harness["value"] == pytest.approx(nats / size / math.log(2), abs=1e-4)
