import json
import re
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch import nn

from bld.training.records import join_phases, parameter_count, peak_memory, save_records
from bld.windows import LongDocuments

LONG = LongDocuments(8, 4, 30, 20, 0, 50, 3, 400, 200, 7)


def metrics(phase, steps):
    rows = [{"phase": phase, "step": n, "tokens": 100 + n, "seconds": 0.5} for n in range(steps)]
    return pd.DataFrame(rows)


def engine(head):
    trainee = SimpleNamespace(lm=nn.Linear(3, 4), head=head, long_documents=LONG)
    return SimpleNamespace(module=trainee, world_size=2)


@pytest.mark.parametrize(("head", "size"), [(None, 0), (nn.Linear(2, 5), 15)])
def test_the_summary_adds_up_what_the_metrics_say(tmp_path, head, size):
    paths = tmp_path / "m.parquet", tmp_path / "t.json"
    save_records(engine(head), metrics("distill", 4), *paths, teacher_window=64)
    summary = json.loads((tmp_path / "t.json").read_text())
    assert summary.pop("peak_memory_bytes") > 0
    assert summary | {"device": ""} == {
        "train_seconds": 2.0,
        "train_tokens": 406,
        "tokens_per_second": 203.0,
        "gpu_hours": 2 * 2.0 / 3600 if torch.cuda.is_available() else 0.0,
        "steps": 4,
        "parameters": 16,
        "head_parameters": size,
        "world_size": 2,
        "device": "",
        "long_documents": {
            "row_length": 8,
            "context": 4,
            "documents": 30,
            "long": 20,
            "dropped": 0,
            "pieces": 50,
            "answers": 3,
            "tokens": 400,
            "repeated": 200,
            "unread": 7,
            "teacher_window": 64,
        },
    }
    assert pd.read_parquet(tmp_path / "m.parquet").equals(metrics("distill", 4))


def test_the_metrics_of_a_warm_up_stand_before_those_of_the_distillation(tmp_path):
    metrics("warmup", 2).to_parquet(tmp_path / "metrics.parquet")
    joined = join_phases(tmp_path, metrics("distill", 3))
    assert joined["phase"].tolist() == ["warmup"] * 2 + ["distill"] * 3
    assert joined["step"].tolist() == [0, 1, 0, 1, 2]
    assert join_phases(None, metrics("distill", 3)).equals(metrics("distill", 3))


def test_the_speed_is_that_of_the_last_phase(tmp_path):
    phases = pd.concat([metrics("warmup", 9), metrics("distill", 4)])
    save_records(engine(None), phases, tmp_path / "m.parquet", tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["tokens_per_second"] == 203.0


def test_parameters_shared_out_by_zero_3_are_counted_whole():
    module = nn.Linear(3, 4)
    module.weight.ds_numel = 1200
    assert parameter_count(module) == 1204


def test_without_a_gpu_the_peak_is_what_the_system_counts_as_resident(monkeypatch):
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("this system does not tell in /proc")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    kibibytes = int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1])
    # The system counts pages lazily, by processor.
    assert peak_memory() == pytest.approx(1024 * kibibytes, rel=0.02)


def test_on_a_gpu_the_peak_is_that_of_its_tensors():
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    block = torch.zeros(64 << 20, dtype=torch.uint8, device="cuda")
    del block
    assert peak_memory() == before + (64 << 20)
