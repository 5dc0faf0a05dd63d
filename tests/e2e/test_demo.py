"""The embedded default, as `make demo` runs it."""

import csv
import json

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer


def test_the_demo_says_where_the_report_is(demo):
    report = demo.folder / "results/report/index.html"
    assert report.is_file() and str(report) in demo.printed


def test_the_demo_judges_every_run_between_the_teacher_and_the_student_before_training(summary):
    assert [run["run"] for run in summary["runs"]] == ["sft", "bld", "bld_marginal"]
    for run in summary["runs"]:
        assert run["teacher_bits_per_byte"] < run["bits_per_byte"] < run["student_bits_per_byte"]
        assert run["teacher_bits_per_byte"] < run["student_bits_per_byte"] - 0.3
        assert 0 < run["byte_jsd"] < 0.7


def test_the_demo_compares_each_byte_head_with_training_on_the_text_alone(summary):
    assert [run["head"] for run in summary["runs"]] == [None, "linear", "marginal"]
    assert [run["head_parameters"] > 0 for run in summary["runs"]] == [False, True, False]
    benchmarks = ["documentation", "harness_bits", "next_line", "next_word"]
    metrics = ["bits_per_byte", "byte_jsd", *benchmarks]
    compared = [(one["head"], one["metric"]) for one in summary["comparison"]]
    assert compared == [(head, metric) for head in ("linear", "marginal") for metric in metrics]
    for one in summary["comparison"]:
        assert (one["method"], one["against"], one["seeds"]) == ("bld", "sft", [0])
        assert one["low"] <= one["difference"] <= one["high"]


def test_the_demo_s_teacher_is_better_at_what_it_can_do_than_its_student_before_training(demo):
    rows = csv.DictReader((demo.folder / "results/report/benchmarks.csv").open())
    by_model = {}
    for row in rows:
        sign = 1 if row["higher_is_better"] == "True" else -1
        by_model.setdefault(row["series"], {})[row["benchmark"]] = sign * float(row["value"])
    # Documentations are above so small a model: it guesses.
    for benchmark in ("next_line", "next_word", "harness_bits"):
        assert by_model["teacher"][benchmark] > by_model["untrained student"][benchmark]


def test_documents_of_one_split_are_in_no_other(demo):
    manifests = (demo.folder / "results/corpora/python_docs").glob("*/manifest.json")
    digests = [json.loads(m.read_text())["content_sha256"] for m in manifests]
    assert len(set(digests)) == len(digests) == 4


def test_a_second_demo_has_nothing_to_do(demo):
    assert "Nothing to be done" in demo.snakemake()


@pytest.mark.parametrize("run", ["bld", "bld_marginal"])
def test_a_trained_student_is_an_ordinary_model_folder_without_a_byte_head(demo, run):
    folder = demo.folder / "results/runs" / run / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lm = AutoModelForCausalLM.from_pretrained(folder)
    assert not any("projection" in name and "head" in name for name in lm.state_dict())
    chat = [{"role": "user", "content": "What does `os.path.join` do?"}]
    prompt = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        answer = lm.generate(**prompt, max_new_tokens=12, do_sample=False)
    assert answer.shape[1] > prompt["input_ids"].shape[1]


def test_the_report_of_one_setting_reruns_only_the_report(demo):
    printed = demo.snakemake("-n", "--config", "report={'title': 'Another title'}")
    assert "report" in printed
    for rule in (
        "pretrain",
        "score_teacher",
        "distill",
        "evaluate_bits_per_byte",
        "build_split",
    ):
        assert f"\n{rule} " not in printed


@pytest.mark.long
def test_the_demo_s_teacher_given_bytes_as_tokens_generates_text_and_ends_its_turns(demo):
    configuration = yaml.safe_load((demo.folder / "config/config.yaml").read_text())
    configuration["students"] = {"spelt": {"model": "teacher", "tokenizer": "bytes"}}
    training = {"steps": 150, "batch_size": 4, "micro_batch_size": 4, "learning_rate": 2e-3}
    spelt = configuration["runs"]["sft"] | {"method": "bld", "student": "spelt"}
    spelt |= {"bld": {"head": "output"}, "training": training | {"evaluate_every": 0}}
    configuration["runs"] = {"spelt": spelt}
    (demo.folder / "spelt.yaml").write_text(yaml.safe_dump(configuration))
    target = "results/runs/spelt/model/manifest.json"
    demo.snakemake(target, "--configfile", "spelt.yaml")

    folder = (demo.folder / target).parent
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lm = AutoModelForCausalLM.from_pretrained(folder)
    chat = [{"role": "user", "content": "What does `os.path.join` do?"}]
    prompt = tokenizer.apply_chat_template(
        [chat] * 8, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    torch.manual_seed(0)
    # An answer has some five hundred bytes; the most probable ones of so small a model are spaces.
    texts = lm.generate(**prompt, max_new_tokens=1000, do_sample=True, temperature=0.7)
    answers = texts[:, prompt["input_ids"].shape[1] :]
    ended = (answers == tokenizer.eos_token_id).any(1)
    assert ended.sum() >= 4
    assert all(tokenizer.decode(answer).strip() for answer in answers)
