"""A run's trained byte head is kept beside its model, to be looked at."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from bld.config.settings import Architecture, BldSettings, Rendering, RunTraining
from bld.documents.document import make_document
from bld.documents.rendering import render_split
from bld.documents.renderings import RenderedSplit
from bld.documents.shards import write_splits
from bld.files import sha256_of
from bld.folders import new_folder, whole_folder
from bld.models import load_language_model
from bld.pipeline.step import files_line, step_line
from bld.tokenization.scratch import train_tokenizer
from bld.training.batches import Batches
from bld.training.heads import HEADS_FILE, CausalHeads, load_head, save_head
from bld.training.loop import train
from bld.training.objectives.bld import Bld as Objective
from bld.training.scratch import new_model
from bld.training.trainee import Trainee

DISTRIBUTED = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
READING = {
    "template": "auto",
    "template_arguments": {},
    "end_tokens": [],
    "trust_remote_code": False,
}
TRAINING = {
    "steps": 3,
    "sequence_length": 32,
    "batch_size": 2,
    "micro_batch_size": 2,
    "learning_rate": 1e-2,
    "warmup_steps": 1,
}
LEARNING = BldSettings(head="causal", kl_weight=0.0)


@pytest.fixture
def made(tmp_path):
    """A split, a student and a head as its warm-up leaves it: their manifests."""
    texts = [f"Return the index of key {n}" for n in range(12)]
    documents = [make_document(f"d{n}", "text", [("text", text)]) for n, text in enumerate(texts)]
    split = SimpleNamespace(fraction=1.0, shards=1, documents=None)
    write_splits(documents, {"train": tmp_path / "train"}, {"train": split}, 0)
    tokenizer = train_tokenizer(texts * 9, "byte_level_bpe", 290, "chatml")
    shape = Architecture(hidden=16, layers=1, heads=2, intermediate=24, positions=64)
    with new_folder(tmp_path / "student", {}) as folder:
        new_model(shape, tokenizer, 1).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    with new_folder(tmp_path / "warmup", {}) as folder:
        save_head(CausalHeads(16, seed=5).state_dict(), folder)
        row = {"phase": "warmup", "step": 0, "tokens": 9, "seconds": 1.0}
        pd.DataFrame([row]).to_parquet(folder / "metrics.parquet")
    rendering = Rendering.model_validate(READING)
    render_split(tmp_path / "train", tmp_path / "student", rendering, tmp_path / "rendered")
    names = ("train", "student", "rendered", "warmup")
    return {name: tmp_path / name / "manifest.json" for name in names}


@pytest.fixture
def distill(made, tmp_path):
    """(settings) -> run the stage; what it printed."""

    def run(zero_stage=0, **settings):
        settings |= {"training": TRAINING | {"zero_stage": zero_stage}, "seed": 0}
        settings |= {"rendering": READING}
        inputs = {"documents": made["train"], "student": made["student"]}
        optional = ("cache", "teacher", "warmup", "map")
        of_development = ("development", "development_rendered", "development_cache")
        inputs |= {name: [] for name in (*optional, *of_development)}
        inputs |= {"rendered": made["rendered"]}
        inputs |= {"warmup": made["warmup"]} if settings["method"] == "bld" else {}
        outputs = {
            "manifest": tmp_path / "run/model/manifest.json",
            "metrics": tmp_path / "run/metrics.parquet",
            "training": tmp_path / "run/training.json",
            "head": tmp_path / "run/head/manifest.json",
            "record": tmp_path / "run/model/manifest.record.json",
        }
        command = [
            *(sys.executable, "-m", "bld.stages.distill"),
            *("--step", step_line("bld.stages.distill", settings)),
            *("--files", files_line(inputs, outputs)),
            *("--checkpoints", tmp_path / "checkpoints"),
        ]
        (tmp_path / "run").mkdir(exist_ok=True)  # as Snakemake does before a job
        own = {k: v for k, v in os.environ.items() if k not in DISTRIBUTED}
        done = subprocess.run(
            [str(part) for part in command],
            env=own | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def trained_by_hand(made):
    """The head of the same training in this process, at ZeRO stage 0."""
    lm = load_language_model(made["student"].parent)
    head = load_head("causal", 16, made["warmup"].parent)
    documents = RenderedSplit(made["rendered"].parent)
    objective = Objective(**LEARNING.model_dump(exclude={"head", "histories"}))
    training = RunTraining(**TRAINING)
    trainee = Trainee(lm, head, objective)
    train(trainee, Batches(documents), training, 0, "distill")
    return head.state_dict()


def test_a_trained_head_is_kept_whole_from_whatever_zero_stage(distill, made, tmp_path):
    distill(zero_stage=3, method="bld", bld=LEARNING.model_dump())
    folder = whole_folder(tmp_path / "run/head/manifest.json")
    assert json.loads((folder / "manifest.json").read_text())["head"] == "causal"
    kept = load_head("causal", 16, folder).state_dict()
    before, expected = load_file(made["warmup"].parent / HEADS_FILE), trained_by_hand(made)
    for name, weight in expected.items():
        assert not torch.equal(weight.cpu(), before[name])
        torch.testing.assert_close(kept[name], weight.cpu(), atol=1e-5, rtol=1e-4)
    assert json.loads((tmp_path / "run/training.json").read_text())["peak_memory_bytes"] > 0


def test_a_run_without_such_a_head_says_so_and_gets_it_back_with_the_rest(distill, tmp_path):
    distill(method="sft")
    manifest, record = (
        tmp_path / "run" / name for name in ("head/manifest.json", "model/manifest.record.json")
    )
    said, recorded = manifest.read_bytes(), record.read_bytes()
    assert json.loads(said) == {"files": {}, "head": None}
    manifest.unlink()
    record.unlink()
    assert "done before" in distill(method="sft")
    assert manifest.read_bytes() == said and whole_folder(manifest)
    assert record.read_bytes() == recorded
    assert not list(tmp_path.rglob("*.attempts"))


def test_the_record_of_a_training_names_all_that_it_read_and_made(distill, made, tmp_path):
    distill(method="sft")
    record = json.loads((tmp_path / "run/model/manifest.record.json").read_text())
    expected = {str(made[name]): sha256_of(made[name]) for name in ("train", "student", "rendered")}
    assert record["inputs"] == expected
    names = ("model/manifest.json", "metrics.parquet", "training.json", "head/manifest.json")
    paths = {str(tmp_path / "run" / name) for name in names}
    assert record["outputs"].keys() == paths
    assert (record["seed"], record["stage"]) == (0, "distill")
    assert record["environment"]["packages"]["deepspeed"]
