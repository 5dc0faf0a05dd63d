"""The embedded default, as `make demo` runs it."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


@pytest.fixture(scope="module")
def demo(checkout):
    checkout.printed = checkout.snakemake()
    return checkout


def test_the_demo_compares_both_runs_with_the_teacher_and_says_where_the_report_is(demo):
    report = demo.folder / "results/report"
    assert str(report / "index.html") in demo.printed
    runs = json.loads((report / "summary.json").read_text())["runs"]
    assert [run["run"] for run in runs] == ["sft", "bld"]
    for run in runs:
        assert run["teacher_bits_per_byte"] < run["bits_per_byte"] < run["student_bits_per_byte"]
        assert run["teacher_bits_per_byte"] < run["student_bits_per_byte"] - 0.3
        assert 0 < run["byte_jsd"] < 0.7


def test_documents_of_one_split_are_in_no_other(demo):
    manifests = (demo.folder / "results/corpora/python_docs").glob("*/manifest.json")
    digests = [json.loads(m.read_text())["content_sha256"] for m in manifests]
    assert len(set(digests)) == len(digests) == 3


def test_a_second_demo_has_nothing_to_do(demo):
    assert "Nothing to be done" in demo.snakemake()


def test_a_trained_student_is_an_ordinary_model_folder_without_a_byte_head(demo):
    folder = demo.folder / "results/runs/bld/model"
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
        "evaluate_run",
        "corpus_python_docs_train",
    ):
        assert f"\n{rule} " not in printed
