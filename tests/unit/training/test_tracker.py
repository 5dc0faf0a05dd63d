"""How trainings are shown while they run."""

import os
import sys
from argparse import ArgumentParser

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bld.config.settings import Training
from bld.training.batches import Batches
from bld.training.checkpoints import Checkpoints
from bld.training.deadline import Deadline
from bld.training.development import Development
from bld.training.loop import train
from bld.training.tracker import Tracking, add_tracker_arguments

STEPS = 6
WANDB = """
import json, os

def init(**options):
    print(json.dumps([os.environ["WANDB_MODE"], options]))

def log(values, step):
    print(json.dumps([values, step]))

def finish():
    print('"finished"')
"""


@pytest.fixture
def attempt(toy, tmp_path):
    """Train until it is done or was killed after so many steps; its metrics."""

    def run(steps=STEPS, minutes=0, tracker="tensorboard", folder=tmp_path / "events/toy"):
        size = {"sequence_length": 40, "batch_size": 2, "micro_batch_size": 2}
        try:
            return train(
                toy.new_trainee(),
                toy.Mortal(Batches(toy.documents(20, 0)), steps),
                Training(steps=STEPS, schedule="constant", **size),
                0,
                "toy",
                development=Development(Batches(toy.documents(5, 1)), 2, 40),
                checkpoints=Checkpoints(tmp_path / "checkpoints", Deadline(0, minutes)),
                tracking=Tracking(tracker, folder),
            )[1]
        except toy.KilledError:
            return None

    return run


def shown(folder):
    """(step, value) by the name of what TensorBoard shows of a training."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_a_training_that_was_killed_and_resumed_shows_every_step_once_as_in_its_metrics(
    attempt, tmp_path
):
    attempt(3)
    assert [step for step, _ in shown(tmp_path / "events/toy")["loss"]] == [0, 1, 2]
    attempt(2, minutes=60)  # two steps that are not saved, and so taken again
    metrics = attempt(minutes=60)
    found = shown(tmp_path / "events/toy")
    expected = metrics.dropna(axis=1, how="all").drop(columns=["phase", "step", "tokens"])
    assert found.keys() == {*expected, "tokens_per_second"}
    for name, column in expected.items():
        column = column.dropna()
        assert [step for step, _ in found[name]] == column.index.tolist(), name
        assert [value for _, value in found[name]] == pytest.approx(column.tolist(), rel=1e-6)


def test_a_training_that_begins_anew_takes_the_place_of_what_was_shown_before(attempt, tmp_path):
    Tracking("tensorboard", tmp_path / "events/toy").begin(0).log(70, {"loss": 1.0})
    attempt()
    assert [step for step, _ in shown(tmp_path / "events/toy")["loss"]] == list(range(STEPS))


def test_with_no_tracker_nothing_is_written(attempt, tmp_path):
    assert len(attempt(tracker="none")) == STEPS
    assert not (tmp_path / "events").exists()


def test_what_cannot_be_written_ends_no_training(attempt, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert len(attempt(folder=tmp_path / "file/toy")) == STEPS
    assert "is not shown" in capsys.readouterr().out


def test_only_numbers_are_shown(tmp_path):
    tracker = Tracking("tensorboard", tmp_path).begin(0)
    tracker.log(0, {"loss": 2.5, "kl_loss": float("nan"), "grad_norm": float("inf")})
    tracker.close()
    assert shown(tmp_path) == {"loss": [(0, 2.5)]}


@pytest.fixture
def parser():
    parser = ArgumentParser()
    add_tracker_arguments(parser)
    return parser


@pytest.mark.parametrize("tracker", ["trackio", "wandb"])
def test_a_tracker_that_is_not_installed_is_refused_before_the_training(
    parser, tracker, capsys, monkeypatch
):
    monkeypatch.setattr(sys, "path", [])  # wherever these tests run
    monkeypatch.delitem(sys.modules, tracker, raising=False)
    with pytest.raises(SystemExit):
        parser.parse_args(["--tracker", tracker])
    assert f"`training.tracker` is {tracker}, which is not installed" in capsys.readouterr().err


def test_a_tracker_that_nobody_knows_is_refused(parser, capsys):
    with pytest.raises(SystemExit):
        parser.parse_args(["--tracker", "notebook"])
    assert "found 'notebook'" in capsys.readouterr().err


def test_other_trackers_are_called_by_their_common_interface_offline(
    parser, tmp_path, monkeypatch, capsys
):
    (tmp_path / "wandb.py").write_text(WANDB)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "")
    del os.environ["WANDB_MODE"]
    monkeypatch.chdir(tmp_path)
    arguments = parser.parse_args(["--tracker", "wandb", "--events", "logs/distill/bld"])
    tracker = Tracking(arguments.tracker, arguments.events).begin(4)
    tracker.log(4, {"loss": 2.5, "kl_loss": float("nan")})
    tracker.close()
    began, logged, ended = capsys.readouterr().out.splitlines()
    options = '"id": "distill-bld", "dir": "logs/distill/bld"'
    assert began == (
        f'["offline", {{"project": "{tmp_path.name}", "name": "distill-bld", '
        f'"resume": "allow", {options}}}]'
    )
    assert (logged, ended) == ('[{"loss": 2.5}, 4]', '"finished"')
    assert (tmp_path / "logs/distill/bld").is_dir()
    del sys.modules["wandb"]
