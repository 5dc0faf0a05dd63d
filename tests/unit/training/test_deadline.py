"""A job ends in time, says so once, and does not go round in circles."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from bld.config.settings import Training
from bld.training import deadline as deadline_module
from bld.training.batches import Batches
from bld.training.checkpoints import Checkpoints
from bld.training.deadline import Deadline
from bld.training.loop import train


@pytest.fixture
def clock(monkeypatch):
    """A process that started at second 0 of a clock that the test turns."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setenv("BLD_STARTED", "0.0001")
    fake = SimpleNamespace(time=lambda: clock.now, monotonic=lambda: clock.now)
    monkeypatch.setattr(deadline_module, "time", fake)
    return clock


class Signalled(Batches):
    """Batches during whose third step a signal comes."""

    def __init__(self, documents, number):
        super().__init__(documents)
        self.number, self.steps = number, 0

    def step(self, *arguments):
        self.steps += 1
        if self.steps == 3:
            os.kill(os.getpid(), self.number)
        return super().step(*arguments)


@pytest.fixture
def toy_train(toy, tmp_path):
    def run(deadline, data=None, **options):
        settings = Training(steps=6, sequence_length=40, batch_size=2, micro_batch_size=2)
        data = data or Batches(toy.documents(20, 0))
        checkpoints = Checkpoints(tmp_path, deadline, **options)
        return train(toy.new_trainee(), data, settings, 0, "toy", checkpoints=checkpoints)

    return run


def test_there_is_no_reason_to_stop_without_a_limit(clock):
    deadline = Deadline(0, 10)
    clock.now = 1e9
    assert deadline.reason_to_stop is None


def test_the_job_stops_while_a_step_two_savings_and_half_a_minute_still_fit(clock):
    deadline = Deadline(10, 60)
    with deadline.signals_noted():
        clock.now = 40
        deadline.step_done()  # of 40 s
        clock.now = 60
        deadline.saved(20)
        clock.now = 600 - (40 + 2 * 20 + 30) - 1
        assert deadline.reason_to_stop is None
        clock.now += 2
        assert deadline.reason_to_stop == "the time limit of 10 minutes is near"


def test_saving_is_due_when_the_interval_is_over(clock):
    deadline = Deadline(0, 10)
    clock.now = 599
    assert not deadline.save_is_due
    clock.now = 601
    assert deadline.save_is_due
    deadline.saved(1)
    assert not deadline.save_is_due
    assert Deadline(0, 0).save_is_due


def test_the_clock_starts_with_the_process(monkeypatch):
    monkeypatch.delenv("BLD_STARTED", raising=False)
    code = "import time; time.sleep(2); from bld.training.deadline import process_start\n"
    code += "print(process_start())"
    before = time.time()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert before - 1 < float(told) < before + 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_job_after_the_running_step_is_saved(
    toy, toy_train, tmp_path, capsys, number
):
    handler = signal.getsignal(number)
    with pytest.raises(SystemExit) as stop:
        toy_train(Deadline(0, 60), Signalled(toy.documents(20, 0), number))
    assert stop.value.code == 75
    line = f"{number.name} came: saved at step 3, to be continued (exit 75)\n"
    assert capsys.readouterr().out == line
    assert (tmp_path / "latest").read_text() == "step-00000003\n"
    assert signal.getsignal(number) is handler


def fail(toy, toy_train, runtime):
    """An attempt that ends in its first step."""
    data = Signalled(toy.documents(20, 0), 0)  # signal 0 does nothing
    data.step = lambda *arguments: 1 / 0
    with pytest.raises(ZeroDivisionError):
        toy_train(Deadline(runtime, 60), data)


def test_an_attempt_after_one_that_had_its_time_and_got_nowhere_is_refused(
    toy, toy_train, tmp_path
):
    fail(toy, toy_train, 600)
    attempts = tmp_path / "attempts.json"
    lived = json.loads(attempts.read_text())["started"] + 301 * 60
    os.utime(attempts, (lived, lived))
    message = r"saved nothing further in 301 minutes.*then delete .*attempts\.json"
    for _ in range(2):
        with pytest.raises(RuntimeError, match=message):
            toy_train(Deadline(600, 60))
    attempts.unlink()
    _, metrics = toy_train(Deadline(600, 60))
    assert len(metrics) == 6


def test_an_attempt_after_one_that_was_killed_early_goes_on(toy, toy_train):
    fail(toy, toy_train, 600)
    _, metrics = toy_train(Deadline(600, 60))
    assert len(metrics) == 6


def test_how_long_an_attempt_lived_is_seen(toy, toy_train, tmp_path):
    data = Signalled(toy.documents(20, 0), 0)
    data.step = lambda *arguments: time.sleep(1.5) or 1 / 0
    with pytest.raises(ZeroDivisionError):
        toy_train(Deadline(600, 60), data, heartbeat_seconds=0.01)
    attempts = tmp_path / "attempts.json"
    assert attempts.stat().st_mtime - json.loads(attempts.read_text())["started"] > 1


def test_without_a_time_limit_a_person_may_try_as_often_as_they_like(toy, toy_train):
    for _ in range(3):
        fail(toy, toy_train, 0)


def test_attempts_that_get_further_go_on_to_the_end(toy, toy_train, capsys):
    """With half a minute in all there is room for one step each time."""
    for step in range(1, 7):
        with pytest.raises(SystemExit) as stop:
            toy_train(Deadline(0.5, 60))
        assert stop.value.code == 75
        assert f"is near: saved at step {step}," in capsys.readouterr().out
    _, metrics = toy_train(Deadline(0.5, 60))
    assert metrics["step"].tolist() == list(range(6))


def test_the_last_line_does_not_need_a_reader():
    """A signal to a whole job ends `tee` too, and with it the pipe that our lines go into."""
    code = "import sys; from bld.training.deadline import say_last\n"
    code += "sys.stdin.read(); say_last('line'); print(1, file=sys.stderr); exit(75)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    process.stdout.close()
    process.stdin.close()
    assert process.wait() == 75
