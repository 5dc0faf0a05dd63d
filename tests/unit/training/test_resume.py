"""However often it is interrupted, a training ends in the same weights and metrics, bit for bit."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from bld.config.settings import Training
from bld.pipeline.step import files_line
from bld.training.batches import Batches
from bld.training.checkpoints import Checkpoints
from bld.training.deadline import Deadline
from bld.training.development import Development
from bld.training.export import trained_weights
from bld.training.loop import train

SCRIPT = Path(__file__).with_name("toy_training.py")
SETTINGS = {
    "steps": 8,
    "sequence_length": 40,
    "batch_size": 4,
    "micro_batch_size": 2,
    "learning_rate": 1e-2,
    "warmup_steps": 2,
    "weight_decay": 0.1,
}
DISTRIBUTED = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


@pytest.fixture
def attempt(toy, tmp_path):
    """Train in this process until it is done or has seen so many steps; weights and metrics."""

    def run(
        steps_to_live=-1,
        frozen=False,
        dropout=0.1,
        folder=tmp_path,
        runtime=0,
        minutes=0,
        **settings,
    ):
        trainee = toy.new_trainee(dropout)
        if frozen:
            trainee.freeze_body()
        engine, metrics = train(
            trainee,
            toy.Mortal(Batches(toy.documents(40, 0)), steps_to_live),
            Training(**SETTINGS | settings),
            0,
            "toy",
            development=Development(Batches(toy.documents(9, 1)), 3, 40),
            checkpoints=folder and Checkpoints(folder, Deadline(runtime, minutes)),
        )
        weights = trained_weights(engine, "lm") | trained_weights(engine, "head")
        return weights, metrics.drop(columns="seconds")

    return run


def assert_same(found, expected):
    pd.testing.assert_frame_equal(found[1], expected[1], check_exact=True)
    assert found[0].keys() == expected[0].keys()
    for name, weight in expected[0].items():
        assert torch.equal(found[0][name], weight), name


KINDS = [
    *({"zero_stage": stage} for stage in range(4)),
    {"frozen": True},
    {"sequence_length": 20},  # less than documents, and than the windows of evaluations
    {"zero_stage": 1, "precision": "bf16", "activation_checkpointing": True},
    {"zero_stage": 2, "offload": "optimizer"},
    {"zero_stage": 3, "offload": "parameters", "frozen": True},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_training_that_is_resumed_ends_as_one_that_was_not_interrupted(toy, attempt, kind):
    expected = attempt(folder=None, **kind)
    for steps_to_live in (2, 3):
        with pytest.raises(toy.KilledError):
            attempt(steps_to_live, **kind)
    assert_same(attempt(**kind), expected)


@pytest.mark.parametrize("first, then", [(1, 2), (2, 1)])
@pytest.mark.parametrize("kind", [{}, {"precision": "bf16"}, {"frozen": True}], ids=str)
def test_a_training_goes_on_from_another_zero_stage(toy, attempt, capsys, kind, first, then):
    expected = attempt(folder=None, zero_stage=then, **kind)
    with pytest.raises(toy.KilledError):
        attempt(4, zero_stage=first, **kind)
    assert_same(attempt(zero_stage=then, **kind), expected)
    told = f"one process with ZeRO stage {first}, this is one process with ZeRO stage {then}"
    assert f"it was saved by {told}: the same rows" in capsys.readouterr().out


@pytest.mark.parametrize("first, then", [(0, 1), (3, 2)])
def test_a_stage_that_a_training_cannot_go_on_from_is_refused_with_what_to_do(
    toy, attempt, first, then
):
    with pytest.raises(toy.KilledError):
        attempt(2, zero_stage=first)
    advice = f"goes on with `training.zero_stage` {first}; set that, or delete"
    with pytest.raises(RuntimeError, match=advice):
        attempt(zero_stage=then)


def test_what_fails_after_the_last_step_does_not_cost_the_training(attempt, tmp_path):
    expected = attempt(minutes=1000, runtime=2000)
    assert_same(attempt(steps_to_live=0, minutes=1000, runtime=2000), expected)


def test_steps_after_the_last_checkpoint_are_taken_again(toy, attempt, tmp_path):
    expected = attempt(folder=None)
    with pytest.raises(toy.KilledError):
        attempt(3)
    with pytest.raises(toy.KilledError):
        attempt(4, minutes=60)
    assert (tmp_path / "latest").read_text() == "step-00000003\n"
    assert_same(attempt(minutes=60), expected)


def test_jobs_that_are_stopped_in_time_end_as_one_that_had_the_time(attempt, monkeypatch):
    expected = attempt(folder=None)
    monkeypatch.setenv("BLD_STARTED", str(time.time()))
    for _ in range(SETTINGS["steps"]):
        with pytest.raises(SystemExit):
            attempt(runtime=0.5)  # half a minute is kept in reserve, so there is room for one step
    assert_same(attempt(runtime=0.5), expected)


class Job:
    """The toy training in a process of its own."""

    def __init__(self, folder, settings, *options, processes=1):
        self.folder = folder
        self.out = folder / "out.pt"
        launch = ["-m", "bld.pipeline.launch", "--processes", str(processes), "-m", "toy_training"]
        step = json.dumps({"code": "", "settings": settings})
        files = files_line({}, {"out": self.out})
        self.command = [
            *(sys.executable, *launch, "--step", step, "--files", files),
            *("--checkpoints", folder / "run", *options),
        ]
        self.environment = {k: v for k, v in os.environ.items() if k not in DISTRIBUTED} | {
            "PYTHONPATH": os.pathsep.join([str(SCRIPT.parent), *sys.path]),
            # As many as here: sums are rounded by the thread.
            "OMP_NUM_THREADS": str(processes * torch.get_num_threads()),
        }

    def start(self):
        return subprocess.Popen(
            [str(part) for part in self.command],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def saved(self):
        """The step of the newest checkpoint."""
        [*pointers] = self.folder.glob("run/*/latest")
        return int(pointers[0].read_text().split("-")[1]) if pointers else 0

    def stop_with(self, number, steps):
        """Send a signal when so many steps more are saved; what it printed."""
        before, process = self.saved(), self.start()
        while self.saved() < before + steps:
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.001)
        process.send_signal(number)
        printed = process.communicate(timeout=60)[0]
        return process.returncode, printed

    def finish(self):
        process = self.start()
        printed = process.communicate(timeout=120)[0]
        assert process.returncode == 0, printed
        return torch.load(self.out, weights_only=False)


def test_a_job_that_is_killed_twice_ends_as_one_that_was_left_alone(attempt, tmp_path):
    settings = SETTINGS | {"steps": 40}
    job = Job(tmp_path, settings, "--checkpoint-minutes", 0)
    for _ in range(2):
        assert job.stop_with(signal.SIGKILL, random.randint(1, 6))[0] == -signal.SIGKILL
    assert_same(job.finish(), attempt(folder=None, **settings))
    assert not list((tmp_path / "run").glob("*/step-*"))


@pytest.mark.long
def test_ten_kills_and_a_stop_at_the_time_limit_change_nothing(attempt, tmp_path):
    settings = SETTINGS | {"steps": 120}
    job = Job(tmp_path, settings, "--checkpoint-minutes", 0)
    for _ in range(10):
        job.stop_with(signal.SIGKILL, random.randint(1, 8))
    limited = Job(tmp_path, settings, "--checkpoint-minutes", 0, "--runtime", 0.5).start()
    assert "the time limit of 0.5 minutes is near" in limited.communicate()[0]
    assert limited.returncode == 75
    assert_same(job.finish(), attempt(folder=None, **settings))


def assert_close(found, expected):
    """As near as sums in another order are: 1e-5, or 1e-4 of a number.

    The bias of attention's keys is left out: no loss depends on it, so that its gradient is nothing
    but rounding, which Adam brings to the size of any other.
    """
    for column in expected[1].columns.drop("phase"):
        told = found[1][column].tolist()
        assert told == pytest.approx(expected[1][column].tolist(), rel=1e-4, nan_ok=True), column
    for name, weight in expected[0].items():
        told = found[0][name]
        if name.endswith("attn.c_attn.bias"):
            told, weight = (bias.view(3, -1)[[0, 2]] for bias in (told, weight))
        torch.testing.assert_close(told, weight, atol=1e-5, rtol=1e-4, msg=name)


def test_two_processes_that_were_stopped_agree_with_one(attempt, tmp_path):
    settings = SETTINGS | {"zero_stage": 2, "micro_batch_size": 1}
    job = Job(tmp_path, settings | {"dropout": 0.0}, "--checkpoint-minutes", 0, processes=2)
    code, printed = job.stop_with(signal.SIGTERM, 1)
    assert code == 75, printed
    assert printed.count("SIGTERM came: saved at step") == 1
    assert_close(job.finish(), attempt(folder=None, dropout=0))


def in_turns(folder, processes, stages):
    """A training of which each but the last of these numbers of processes takes a step or two, and
    what was printed of where it went on from."""
    settings = SETTINGS | {"micro_batch_size": 1, "dropout": 0.0, "steps": 12}
    jobs = [
        Job(folder, settings | {"zero_stage": stage}, "--checkpoint-minutes", 0, processes=count)
        for count, stage in zip(processes, stages, strict=True)
    ]
    said = []
    for job in jobs[:-1]:
        code, printed = job.stop_with(signal.SIGTERM, 1)
        assert code == 75, printed
        said += re.findall("it was saved by (.*), this is (.*): the same rows", printed)
    return jobs[-1].finish(), said


def test_a_training_goes_on_in_whatever_allocation_there_is(attempt, tmp_path):
    found, said = in_turns(tmp_path, [1, 2, 1, 1], [1, 2, 2, 1])
    assert said == [
        ("one process with ZeRO stage 1", "2 processes with ZeRO stage 2"),
        ("2 processes with ZeRO stage 2", "one process with ZeRO stage 2"),
    ]
    assert_close(found, attempt(folder=None, dropout=0, steps=12))


@pytest.mark.long
@pytest.mark.parametrize("stage", [0, 3])
def test_without_zero_and_with_all_of_it_the_number_of_processes_may_change(
    attempt, tmp_path, stage
):
    found, said = in_turns(tmp_path, [2, 1, 2], 3 * [stage])
    assert len(said) == 1
    assert_close(found, attempt(folder=None, dropout=0, steps=12))


@pytest.mark.long
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_two_processes_agree_with_one_at_every_zero_stage_and_resume_exactly(
    attempt, tmp_path, stage
):
    settings = SETTINGS | {"zero_stage": stage, "micro_batch_size": 1, "steps": 20}
    settings |= {"dropout": 0.0}
    options = ("--checkpoint-minutes", 0)
    (tmp_path / "whole").mkdir()
    whole = Job(tmp_path / "whole", settings, *options, processes=2).finish()
    job = Job(tmp_path, settings, *options, processes=2)
    for _ in range(2):
        code, printed = job.stop_with(signal.SIGTERM, random.randint(1, 3))
        assert code == 75, printed
    assert_same(job.finish(), whole)
    assert_close(whole, attempt(folder=None, dropout=0, steps=20))
