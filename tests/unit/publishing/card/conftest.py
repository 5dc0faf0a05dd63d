"""A made-up run and everything that its model card is written from."""

import csv
from copy import deepcopy

import numpy as np
import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import save_file

from bld.config.settings import Run, Student, Teacher
from bld.files import write_json
from bld.pipeline.step_settings import WriteCard
from bld.publishing.card.card import CardInputs, write_card

SCRATCH = {
    "corpus": "docs",
    "split": "train",
    "documents": None,
    "tokenizer": {"kind": "unigram", "vocabulary": 3000, "template": "turns"},
    "architecture": {"hidden": 64, "layers": 2, "heads": 2, "intermediate": 96, "positions": 128},
    "training": {"steps": 450},
    "seed": 0,
}
REPORTED = {
    "models": [
        "model series seed corpus bits_per_byte low high byte_jsd",
        "big|teacher||elsewhere|9.1|9.1|9.1|",
        "big|teacher||docs|2.201727|2.110231|2.296139|",
        "small|untrained student||docs|4.628203|4.478378|4.773239|0.213148",
        "sft|sft|0|docs|2.631111|2.5|2.7|0.095",
        "mine|bld marginal|0|docs|2.499999|2.401234|2.612345|0.0812345",
    ],
    "comparison": [
        "series against metric student corpus difference low high verdict models against_models",
        "teacher|untrained student|bits_per_byte|small|docs|-2.4|-2.5|-2.3|better|big|small",
        # A teacher may have the name of a run.
        "teacher|untrained student|bits_per_byte|small|elsewhere|-1|-2|-0.5|better|mine|small",
        "bld marginal|sft|bits_per_byte|small|docs|-0.131112|-0.15|-0.11|better|mine|sft",
        "bld marginal|sft|byte_jsd|small|docs|-0.00004|-0.001|0.001|not shown|mine|sft",
        "bld linear|sft|bits_per_byte|small|docs|0.5|0.4|0.6|worse|mine_too|sft",
    ],
    "benchmarks": [
        "model series seed benchmark metric value stderr higher_is_better documents limit",
        "mine|bld marginal|0|next_line|acc|0.3|0.0597|True|60|",
        "big|teacher||next_line|acc|0.5|0.0651|True|60|",
        "mine|bld marginal|0|harness|bits_per_byte|2.75|0.04|False|30|30",
    ],
}
TRAINING = {
    "train_seconds": 1234.5,
    "train_tokens": 1961817,
    "gpu_hours": 2.743,
    "steps": 300,
    "parameters": 2500000,
    "head_parameters": 0,
    "world_size": 8,
    "device": "cuda",
    "peak_memory_bytes": 3 * 2**30,
}
RECORD = {
    "environment": {"python": "3.11.7", "packages": {"transformers": "5.23.0", "torch": "2.13.0"}},
    "hardware": {"host": "Linux x86_64", "cpu": "A_CPU", "cores": 16, "gpus": ["NVIDIA H100"] * 8},
    "version": {"commit": "89" * 20, "uncommitted": None},
}


class Made:
    """The files behind the card of a run, `mine`, in a folder as the workflow leaves it."""

    def __init__(self, folder):
        self.folder = folder
        self.run = Run(
            method="bld",
            student="small",
            teacher="big",
            corpus="docs",
            bld={"head": "marginal", "kl_weight": 4.0, "byte_weight": 0},
        )
        self.student = Student(model="base", tokenizer="other")
        self.teacher = Teacher(model="strong")
        self.scratch = {"base": SCRATCH, "other": SCRATCH, "strong": SCRATCH}
        self.manifests = []
        self.split("train", 200)
        self.split("validation", 48)
        self.tables = {name: list(lines) for name, lines in REPORTED.items()}
        self.summary = {"run": "mine", "teacher": "big", "student": "small"} | {
            "tasks": {
                "bits_per_byte": {"documents": 48, "bytes": 25692},
                "byte_divergence": {"documents": 12},
            }
        }
        self.training, self.record = deepcopy(TRAINING), deepcopy(RECORD)
        self.crate = folder / "demo.crate.zip"
        self.crate.write_bytes(b"a crate")

    def split(self, name, documents, **source):
        source = source or {"kind": "python_docs", "max_bytes": 1500}
        about = {"documents": documents, "content_bytes": 123456, "content_sha256": "ab" * 32}
        path = self.folder / f"results/corpora/docs/{name}/manifest.json"
        self.manifest(path, about | {"source": source, "python": "3.11.7"})

    def fetched(self, kind, name, licence=None, **source):
        """A model or a data set that came from outside."""
        self.scratch.pop(name, None)
        files = {
            "config.json": {"bytes": 7, "sha256": "c" * 64},
            "model.safetensors": {"bytes": 900, "sha256": "d" * 64},
        }
        about = {"source": source, "files": files, "licence": {"files": []} | (licence or {})}
        self.manifest(self.folder / f"resources/{kind}/{name}/manifest.json", about)

    def manifest(self, path, about):
        write_json(path, about)
        if path not in self.manifests:
            self.manifests.append(path)

    def inputs(self):
        where = self.folder / "results/runs/mine"
        files = {"chat_template.jinja": {}, "config.json": {}}
        write_json(where / "model/manifest.json", {"files": files})
        weights = {"a": np.zeros((1190, 2000), "float16"), "b": np.zeros(416, "float16")}
        save_file(weights, where / "model/model.safetensors")
        write_json(where / "training.json", self.training)
        write_json(where / "model/manifest.record.json", self.record)
        report = self.folder / "report"
        write_json(report / "summary.json", {"runs": [self.summary], "comparison": []})
        for name, (head, *rows) in self.tables.items():
            with (report / f"{name}.csv").open("w", newline="") as file:
                csv.writer(file).writerows([head.split(), *(row.split("|") for row in rows)])
        settings = WriteCard(
            name="mine",
            run=self.run,
            student=self.student,
            teacher=self.teacher,
            scratch=self.scratch,
            trust_remote_code=False,
        )
        return CardInputs(
            settings,
            where / "model/manifest.json",
            where / "training.json",
            where / "model/manifest.record.json",
            self.manifests,
            report,
            self.crate,
        )

    def card(self):
        """The card as the hub's own tools read it from the file."""
        path = self.folder / "results/runs/mine/model/README.md"
        write_card(self.inputs(), path)
        return ModelCard.load(path)


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path)
