"""Synthetic runs: the files that training and evaluation would leave behind."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bld.reporting.inputs import RunInputs
from bld.reporting.teacher_bytes import CacheInputs

KINDS = ("class", "function", "module")
POLICY = {"name": "prefix", "eps": 0.001}
AUDIT = {
    "documents": 16,
    "bytes": 12000,
    "jsd": {
        "policy": {"mean": 0.0001, "p99": 0.002, "max": 0.05},
        "stored": {"mean": 0.0011, "p99": 0.012, "max": 0.06},
    },
    "total_variation": {
        "policy": {"mean": 0.0003, "p99": 0.004, "max": 0.1},
        "stored": {"mean": 0.0033, "p99": 0.024, "max": 0.2},
    },
    "storage": {"kl": 0.0045, "entropy": 1.5, "share_of_entropy": 0.003},
    "bits_per_byte": {"stored": 2.111, "policy": 2.102, "strict": 2.101},
    "true_byte_lost": {"stored": 0, "policy": 0, "strict": 0},
    "lost_mass": {"mean": 0.004, "max": 0.25, "exceeded": 0.0, "rounding": 1e-4},
    "worst": [
        {"id": "doc-007", "kind": "class", "jsd": 0.01, "worst_symbol": 3, "worst_jsd": 0.06}
        | {"before": "a\\n<b>", "symbol": "&"}
    ],
    "settings": {"own": POLICY, "strict": {"name": "prefix", "eps": 0.0}},
    "bytes_on_disk": 1_800_000,
    "supervised_bytes": 100_000,
}
INFORMATION = {
    "token_bits": 8.0,
    "byte_bits": 7.2,
    "ratio": 0.9,
    "by_position": [
        {"position": position, "tokens": 600 - 50 * position, "byte_bits": 3 / position}
        | {"known": 0.9 - 0.5 / position}
        for position in range(1, 12)
    ],
    "by_length": [
        {"length": length, "tokens": 50, "token_bits": 8.0, "byte_bits": 3.0 + length}
        for length in range(1, 12)
    ],
    "beyond_heads": {"tokens": 0.02, "bytes": 0.014, "byte_bits": 0.006},
}


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
        taught = method != "sft"
        evaluation = {
            "bits_per_byte": self.scores(name, level, seed=seed),
            "byte_divergence": self.write(
                f"{name}.byte_divergence.json",
                {"task": "byte_divergence", "jsd": 0.04, "kl": 0.17, "policy": POLICY},
            ),
        }
        inputs = {
            "name": name,
            "method": method,
            "head": "linear" if taught else None,
            "seed": seed,
            "student": "small",
            "teacher": "large",
            "corpus": "docs",
            "settings": {"seed": seed, "training": {"steps": 60, "learning_rate": 5e-4}},
            "metrics": self.metrics(name, warmup=20 if taught else 0, taught=taught),
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

    def cache(self, teacher="large", audit=None, information=None):
        """A byte cache; `audit` and `information` replace some of its figures."""
        return CacheInputs(
            teacher,
            "docs",
            "train",
            self.write(f"{len(teacher)}.audit.json", AUDIT | (audit or {})),
            self.write(f"{len(teacher)}.information.json", INFORMATION | (information or {})),
        )

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
