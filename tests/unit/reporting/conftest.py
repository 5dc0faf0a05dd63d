"""Synthetic runs: the files that training and evaluation would leave behind."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bld.reporting.inputs import RunInputs

KINDS = ("class", "function", "module")


class Factory:
    """Writes the input files of one report into a folder; every document has a length of its own."""

    def __init__(self, folder: Path, documents: int = 40) -> None:
        self.folder = folder
        rng = np.random.default_rng(3)
        self.bytes_D = rng.integers(80, 900, documents)
        self.difficulty_D = rng.normal(0, 0.3, documents)

    def scores(self, name, level, spread=0.05, seed=0, ids=None, bytes_D=None):
        bytes_D = self.bytes_D if bytes_D is None else bytes_D
        noise_D = np.random.default_rng(seed).normal(0, spread, len(bytes_D))
        nats_D = (level + self.difficulty_D + noise_D) * bytes_D * math.log(2)
        ids = ids or [f"doc-{index:03d}" for index in range(len(bytes_D))]
        documents = [
            {"id": one, "kind": KINDS[index % len(KINDS)], "nats": float(nats), "bytes": int(size)}
            for index, (one, nats, size) in enumerate(zip(ids, nats_D, bytes_D, strict=True))
        ]
        return self.write(
            f"{name}.bits_per_byte.json",
            {
                "task": "bits_per_byte",
                "bits_per_byte": float(nats_D.sum() / bytes_D.sum() / math.log(2)),
                "bytes": int(bytes_D.sum()),
                "documents": len(bytes_D),
                "end_nats": 12.5,
                "by_kind": {},
                "per_document": documents,
            },
        )

    def run(self, name, method="sft", seed=1, level=2.5, **changes):
        teacher_parts = method != "sft"
        evaluation = {
            "bits_per_byte": self.scores(name, level, seed=seed),
            "byte_divergence": self.write(
                f"{name}.byte_divergence.json",
                {"task": "byte_divergence", "jsd": 0.04, "kl": 0.17, "histories": "trunk"},
            ),
        }
        inputs = {
            "name": name,
            "method": method,
            "seed": seed,
            "student": "small",
            "teacher": "large",
            "corpus": "docs",
            "settings": {"seed": seed, "training": {"steps": 60, "learning_rate": 5e-4}},
            "metrics": self.metrics(name, warmup=20 if teacher_parts else 0, taught=teacher_parts),
            "training": self.write(
                f"{name}.training.json",
                {
                    "train_seconds": 20.0,
                    "train_tokens": 61000,
                    "tokens_per_second": 3050.0,
                    "gpu_hours": 0.25,
                    "steps": 60,
                    "parameters": 1000,
                    "head_parameters": 0,
                    "world_size": 1,
                    "device": "cpu",
                },
            ),
            "evaluation": evaluation,
            "teacher_evaluation": {"bits_per_byte": self.scores("large", 2.2, seed=101)},
            "student_evaluation": {"bits_per_byte": self.scores("small", 3.0, seed=102)},
        }
        return RunInputs(**(inputs | changes))

    def metrics(self, name, warmup, taught, steps=60):
        rows = [
            {"phase": "warmup", "step": step, "byte_loss": 4.0 - step / 20}
            for step in range(1, warmup + 1)
        ]
        rows += [
            {
                "phase": "distill",
                "step": warmup + step,
                "token_loss": 4.0 + (-1) ** step - step / 60,
                "byte_loss": 6.0 - step / 60 if taught else None,
                "kl_loss": 2.0 - step / 60 if taught else None,
            }
            for step in range(1, steps + 1)
        ]
        columns = ["phase", "step", "token_loss", "byte_loss", "kl_loss"]
        path = self.folder / f"{name}.metrics.parquet"
        pd.DataFrame(rows, columns=columns).assign(tokens=1000, seconds=0.3).to_parquet(path)
        return path

    def write(self, name, content):
        path = self.folder / name
        path.write_text(json.dumps(content), encoding="utf-8")
        return path


@pytest.fixture
def factory(tmp_path):
    folder = tmp_path / "inputs"
    folder.mkdir()
    return Factory(folder)
