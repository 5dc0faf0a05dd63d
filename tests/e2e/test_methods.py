"""Every method side by side, as a user would start them: in small form, and beyond the budget the
whole comparison."""

import csv
import json

import pytest
import yaml
from transformers import AutoModelForCausalLM

# Two trainings at once, one on each core, as the whole comparison's first lines say.
TWO_AT_ONCE = ["warm_up=1", "distill=1", "evaluate_bits_per_byte=1", "evaluate_byte_divergence=1"]
WHOLE = [pytest.mark.long, pytest.mark.timeout(4 * 3600)]
FILES = ["tiny/compare.yaml", pytest.param("compare.yaml", marks=WHOLE)]


@pytest.fixture(scope="module", params=FILES)
def compared(new_checkout, request):
    """The folder of a comparison, just made, and its configuration."""
    checkout = new_checkout()
    file = f"config/experiments/{request.param}"
    checkout.arguments = (
        "--configfile",
        file,
        "--resources",
        "gpu=2",
        "--set-threads",
        *TWO_AT_ONCE,
    )
    checkout.snakemake(*checkout.arguments)
    checkout.runs = yaml.safe_load((checkout.folder / file).read_text())["runs"]
    return checkout


def rows(checkout, table):
    return list(csv.DictReader((checkout.folder / f"results/report/{table}.csv").open()))


def test_every_run_is_trained_judged_and_an_ordinary_model(compared):
    summary = json.loads((compared.folder / "results/report/summary.json").read_text())
    assert {run["run"] for run in summary["runs"]} == compared.runs.keys()
    assert all(run["bits_per_byte"] > 0 for run in summary["runs"])
    for run in compared.runs:
        AutoModelForCausalLM.from_pretrained(compared.folder / f"results/runs/{run}/model")


def test_each_way_to_train_is_one_row_with_an_interval_to_sft_and_what_it_costs(compared):
    found = {run: row for row in rows(compared, "methods") for run in row["models"].split()}
    assert found.keys() == compared.runs.keys()
    for run, settings in compared.runs.items():
        row = found[run]
        assert float(row["train_seconds"]) > 0 and float(row["peak_memory_bytes"]) > 0
        if settings["method"] != "sft":
            low, difference, high = (
                float(row[f"difference{end}"]) for end in ("_low", "", "_high")
            )
            assert low <= difference <= high


def test_methods_are_ranked_and_the_tokenizers_alignment_is_told(compared):
    ranked = {run for row in rows(compared, "ranks") for run in row["models"].split()}
    assert ranked == compared.runs.keys()
    for row in rows(compared, "alignment"):
        assert 0 < float(row["aligned_of_student"]) < 1
    assert "figure-ranks" in (compared.folder / "results/report/index.html").read_text()


def test_its_archive_is_whole_and_nothing_is_left_to_do(compared):
    verify = ("python", "-m", "bld.stages.verify", "results/archive/compare.crate.zip")
    compared.run(*verify, env=compared.env | {"PYTHONPATH": "workflow"})
    assert "Nothing to be done" in compared.snakemake(*compared.arguments)
