"""Where something fails, the page is made all the same and says what is missing."""

import json
import subprocess
from html.parser import HTMLParser

import pytest
import yaml


class Text(HTMLParser):
    """The words of a page."""

    def __init__(self, page):
        super().__init__()
        self.words = []
        self.feed(page.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def broken(copied):
    """The demo after one model was damaged, one benchmark was made to ask for what there is not and
    one has no data; and what Snakemake says when it is asked for the report."""
    folder = copied.folder
    configuration = yaml.safe_load((folder / "config/config.yaml").read_text())
    benchmarks = configuration["benchmarks"]
    benchmarks["next_word"]["metric"] = "elegance"
    benchmarks["piqa"] = {"task": "piqa", "data": {"baber/piqa": "0" * 39 + "1"}}
    (folder / "config/config.yaml").write_text(yaml.safe_dump(configuration, sort_keys=False))
    evaluation = folder / "results/runs/bld/evaluation"
    (evaluation / "bits_per_byte.json").unlink()
    (folder / "results/runs/bld/model/config.json").unlink()
    # Of a model that has been replaced since.
    found = json.loads((evaluation / "byte_divergence.json").read_text())
    (evaluation / "byte_divergence.json").write_text(json.dumps(found | {"model_sha256": "0" * 64}))
    done = subprocess.run(
        ["snakemake", "--profile", "profiles/local", "--quiet", "all"],
        cwd=folder,
        env=copied.env | {"HF_ENDPOINT": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
    )
    return folder, done


@pytest.fixture(scope="module")
def page(broken):
    return Text(broken[0] / "results/report/index.html").text


def test_the_command_fails_and_says_where_the_page_is(broken):
    folder, done = broken
    assert done.returncode != 0
    assert f"The report of what there is: {folder}/results/report/index.html" in done.stdout


def test_a_benchmark_without_data_and_one_that_fails_are_named_with_their_files(page):
    assert "Not everything is here" in page
    for benchmark in ("piqa", "next_word"):
        for whom in ("sft", "the teacher demo", "the student swapped before training"):
            assert f"Failed: {benchmark} of {whom} is missing: results/" in page


def test_a_run_without_evaluation_is_named_and_the_others_are_compared(broken, page):
    assert "Failed: Bits per byte of bld is missing: results/runs/bld/evaluation/" in page
    assert "Not compared with SFT (not evaluated): bld." in page
    assert "BLD without a head: " in page
    summary = json.loads((broken[0] / "results/report/summary.json").read_text())
    bits = {run["run"]: run["bits_per_byte"] for run in summary["runs"]}
    assert bits["bld"] is None and bits["sft"] > bits["bld_marginal"] > 0


def test_what_was_found_of_a_model_that_has_been_replaced_is_left_out(broken, page):
    assert "Byte divergence of bld is of an earlier model and was left out." in page
    summary = json.loads((broken[0] / "results/report/summary.json").read_text())
    assert next(run for run in summary["runs"] if run["run"] == "bld")["byte_jsd"] is None


def test_what_is_missing_is_still_to_be_made_and_nothing_else(broken, copied):
    folder, _ = broken
    done = subprocess.run(
        ["snakemake", "--profile", "profiles/local", "-n"],
        cwd=folder,
        env=copied.env,
        capture_output=True,
        text=True,
    )
    assert "evaluate_benchmark" in done.stdout and "\nreport " in done.stdout
    assert "pretrain" not in done.stdout
