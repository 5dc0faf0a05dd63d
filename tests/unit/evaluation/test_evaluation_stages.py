"""What the stages of byte-level evaluation are called with, and what they write."""

import json
import sys
from types import SimpleNamespace

import pytest

from bld.documents.shards import write_splits
from bld.folders import new_folder
from bld.pipeline.step import files_line
from bld.stages import evaluate_average, evaluate_byte_divergence, write_text
from bld.training.heads import LinearHeads, save_head

READING = {
    "template": "auto",
    "template_arguments": {},
    "end_tokens": [],
    "trust_remote_code": False,
}
COMMON = {
    "window": 256,
    "batch_tokens": 512,
    "rendering": READING,
    "policy": {"histories": "prefix", "eps": 0.0},
}


@pytest.fixture
def manifests(tmp_path, model, tokenizers, documents):
    """Those of a split, a teacher, a student and its head."""
    split = SimpleNamespace(fraction=1.0, shards=1, documents=None)
    write_splits(documents, {"documents": tmp_path / "documents"}, {"documents": split}, 0)
    for name, kind in (("teacher", "subwords"), ("student", "Unigram")):
        with new_folder(tmp_path / name, {}) as folder:
            model(kind)[0].save_pretrained(folder)
            tokenizers[kind].save_pretrained(folder)
    with new_folder(tmp_path / "head", {"head": "linear"}) as folder:
        save_head(LinearHeads(16, 0).state_dict(), folder)
    names = ("documents", "teacher", "student", "head")
    return {name: str(tmp_path / name / "manifest.json") for name in names}


@pytest.fixture
def run(monkeypatch, tmp_path):
    """(stage, settings, inputs) -> what it writes."""

    def run(stage, settings, **inputs):
        step = json.dumps({"code": "", "settings": COMMON | settings})
        out = tmp_path / "out.json"
        files = files_line(inputs, {"evaluation": out})
        monkeypatch.setattr(sys, "argv", ["", "--step", step, "--files", files])
        stage.main()
        return json.loads(out.read_text())

    return run


@pytest.mark.parametrize("kind", [None, "linear"])
def test_a_student_is_measured_with_its_trained_head_and_without_one(run, manifests, kind):
    settings = {"documents": 3, "head": kind, "teacher": {"rendering": READING}}
    found = run(
        evaluate_byte_divergence,
        settings,
        documents=manifests["documents"],
        model=manifests["student"],
        head=manifests["head"] if kind else [],
        teacher=[manifests["teacher"]],
    )
    assert (found["task"], found["documents"]) == ("byte_divergence", 3)
    assert found["policy"] == COMMON["policy"]
    assert bool(found["head"]) == bool(kind)


def test_an_average_is_measured_and_is_a_teacher_to_be_held_against(run, manifests):
    models = [manifests["teacher"], manifests["student"]]
    rendering = {"teacher": READING, "student": READING}
    average = {"models": {"teacher": 1, "student": 2}, "mean": "geometric"}
    documents = manifests["documents"]
    teacher = {"rendering": rendering, "average": average}
    found = run(evaluate_average, teacher, documents=documents, models=models)
    assert found["task"] == "bits_per_byte" and len(found["per_document"]) == found["documents"]
    settings = {"documents": 4, "head": None, "teacher": teacher}
    student = manifests["student"]
    against = run(
        evaluate_byte_divergence,
        settings,
        documents=documents,
        model=student,
        head=[],
        teacher=models,
    )
    bits = against["models"]["teacher"]["bits_per_byte"]
    assert bits == pytest.approx(found["bits_per_byte"], rel=1e-5)


def test_completions_and_a_passage_are_written(run, manifests, documents):
    settings = {
        "prompts": ["Which index?", "\x00"],
        "temperature": 0.0,
        "completion_bytes": 9,
        "passage_bytes": 21,
    }
    found = run(write_text, settings, documents=manifests["documents"], model=manifests["student"])
    assert found["task"] == "text"
    assert [one["prompt"] for one in found["completions"]] == settings["prompts"]
    passage = found["passage"]
    assert (passage["id"], passage["kind"]) == ("first", "text")
    # The twenty-second byte is the second one of a character.
    assert passage["text"] == documents[0].supervised[:21].decode(errors="ignore")
    assert len(passage["bits"]) == len(passage["text"].encode()) == 20
