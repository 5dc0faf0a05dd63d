"""What lies in a checkpoint folder, who may work there, and what becomes of damage."""

import errno
import fcntl
import os
import resource
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest

from bld.config.settings import Training
from bld.folders import new_folder
from bld.pipeline.code_digest import code_digest
from bld.pipeline.record import Recorder
from bld.pipeline.step import StepLine
from bld.pipeline.step_settings import StepSettings
from bld.training.batches import Batches
from bld.training.checkpoints import Checkpoints, fingerprint, with_checkpoints
from bld.training.deadline import Deadline
from bld.training.engine import build_engine, start_distributed
from bld.training.lock import locked
from bld.training.loop import train

SETTINGS = Training(
    steps=5, sequence_length=40, batch_size=2, micro_batch_size=2, schedule="constant"
)


@pytest.fixture
def train_in(toy):
    """Train for some steps, saving after each; the metrics."""

    def run(folder, steps=5):
        checkpoints = Checkpoints(folder, Deadline(0, 0))
        settings = SETTINGS.model_copy(update={"steps": steps})
        data = Batches(toy.documents(20, 0))
        return train(toy.new_trainee(), data, settings, 0, "toy", checkpoints=checkpoints)[1]

    return run


@pytest.fixture
def engine(toy):
    start_distributed()
    return build_engine(toy.new_trainee(), SETTINGS, 1)


def restored(folder, engine):
    """The number of steps that an attempt finds done."""
    with Checkpoints(folder, Deadline(0, 0)).attempt(engine) as table:
        return len(table)


def test_the_last_two_checkpoints_are_kept_and_the_newest_is_named(train_in, tmp_path):
    metrics = train_in(tmp_path)
    names = {"step-00000004", "step-00000005", "latest", "attempts.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert (tmp_path / "latest").read_text() == "step-00000005\n"
    saved = pd.read_parquet(tmp_path / "step-00000005/metrics.parquet")
    pd.testing.assert_frame_equal(saved, metrics, check_dtype=False)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "no manifest"])
def test_a_damaged_checkpoint_is_passed_over_with_a_word(
    train_in, engine, tmp_path, capsys, damage
):
    train_in(tmp_path)
    newest = tmp_path / "step-00000005"
    weights = newest / "state/mp_rank_00_model_states.pt"
    content = weights.read_bytes()
    if damage == "truncated":
        weights.write_bytes(content[:-100])
    elif damage == "flipped":
        weights.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    elif damage == "missing":
        weights.unlink()
    else:
        (newest / "manifest.json").unlink()
    assert restored(tmp_path, engine) == 4
    assert f"{newest} cannot be read" in capsys.readouterr().out


def test_a_checkpoint_that_had_just_appeared_when_the_job_was_killed_is_no_harm(
    train_in, engine, tmp_path
):
    train_in(tmp_path)
    (tmp_path / "latest").write_text("step-00000004\n")
    (tmp_path / ".step-00000006.partial").mkdir()
    assert restored(tmp_path, engine) == 4


def test_nothing_that_can_be_read_means_the_beginning(train_in, engine, tmp_path):
    train_in(tmp_path)
    for manifest in tmp_path.glob("step-*/manifest.json"):
        manifest.write_text("{")
    assert restored(tmp_path, engine) == 0


def test_without_room_the_training_stops_and_the_last_good_checkpoint_resumes(train_in, tmp_path):
    whole = train_in(tmp_path / "whole", steps=3)
    train_in(tmp_path / "full", steps=2)
    size = (tmp_path / "full/step-00000002/state/mp_rank_00_model_states.pt").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    try:
        message = "step 3 could not be saved in .*last good checkpoint is that of step 2"
        with pytest.raises(OSError, match=message):
            train_in(tmp_path / "full", steps=3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / "full").glob(".*"))
    resumed = train_in(tmp_path / "full", steps=3)
    assert resumed["loss"].tolist() == whole["loss"].tolist()


def test_a_second_trainer_is_sent_away_with_the_name_of_the_first(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "417")
    with locked(tmp_path):
        name = rf"process {os.getpid()} on \S+, SLURM job 417, since 2"
        with pytest.raises(RuntimeError, match=name), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


def test_the_lock_of_a_killed_trainer_is_free(tmp_path):
    code = "import sys, pathlib, time; from bld.training.lock import locked\n"
    code += "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    holder = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RuntimeError, match=f"process {holder.pid} on"), locked(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with locked(tmp_path):
        pass


def test_a_lock_that_was_removed_while_it_was_waited_for_is_not_taken_for_one(
    tmp_path, monkeypatch
):
    """The step before is done and removes its folder just after we opened the lock in it."""
    lock, take = tmp_path / "lock", fcntl.flock

    def late(file, how):
        monkeypatch.setattr(fcntl, "flock", take)
        lock.unlink()
        lock.touch()
        take(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with locked(tmp_path), pytest.raises(RuntimeError, match="held by"), locked(tmp_path):
        pass


def test_a_file_system_without_locks_is_told_of(tmp_path, monkeypatch, capsys):
    def refuse(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path):
        assert "no locks on this file system" in capsys.readouterr().out


@pytest.fixture
def run_step(tmp_path, monkeypatch):
    """Run a step that writes a folder and a file, with checkpoints in the folder `run`."""
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(sys, "argv", ["", "--step", "{}"])
    (tmp_path / "input.json").write_text("{}")
    files = [tmp_path / "input.json"], [tmp_path / "model/manifest.json", tmp_path / "metrics"]

    def make(arguments, checkpoints):
        (checkpoints.folder / "step-00000001").mkdir(parents=True)
        with new_folder(tmp_path / "model", {}) as folder:
            (folder / "weights").write_text(arguments.text)
        (tmp_path / "metrics").write_text(arguments.text)

    def run(text="made", step=make):
        path = tmp_path / "metrics.record.json"
        line = StepLine({}, "identity", code_digest("bld.stages.link"))
        arguments = SimpleNamespace(
            settings=StepSettings(),
            identity=line.identity,
            code=line.code,
            record=Recorder(path, "link", line, None, *files),
            checkpoints=tmp_path / "run",
            runtime=0.0,
            checkpoint_minutes=0.0,
            text=text,
        )
        with_checkpoints(arguments, step)
        return [(tmp_path / name).read_text() for name in ("model/weights", "metrics")]

    return run


def test_checkpoints_stay_until_the_step_is_done(run_step, tmp_path):
    def stop(arguments, checkpoints):
        checkpoints.folder.mkdir()
        raise SystemExit(75)

    with pytest.raises(SystemExit):
        run_step(step=stop)
    (tmp_path / "run/of_other_settings").mkdir()
    run_step()
    files = {path.name for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert files == {"lock", "holder.json"}
    [own] = (path for path in (tmp_path / "run").iterdir() if path.is_dir())
    assert [path.name for path in own.iterdir()] == ["finished"]


def test_what_was_finished_unseen_is_put_back_and_not_made_again(run_step, tmp_path, capsys):
    run_step("first")
    shutil.rmtree(tmp_path / "model")
    (tmp_path / "metrics").unlink()
    record = (tmp_path / "metrics.record.json").read_bytes()
    (tmp_path / "metrics.record.json").unlink()
    assert run_step("second") == ["first", "first"]
    assert (tmp_path / "metrics.record.json").read_bytes() == record
    assert "done before with the same settings, code and inputs" in capsys.readouterr().out
    assert run_step("third") == ["first", "first"]
    assert (tmp_path / "model/weights").stat().st_nlink == 2  # it takes no room
    names = {"input.json", "metrics", "metrics.record.json", "model", "run"}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize("change", ["input", "kept"])
def test_what_was_finished_of_another_input_or_is_not_whole_is_made_again(
    run_step, tmp_path, change
):
    run_step("first")
    if change == "input":
        (tmp_path / "input.json").write_text("[]")
    else:
        [kept] = tmp_path.glob("run/*/finished/0/weights")
        kept.unlink()
    assert run_step("second") == ["second", "second"]


def test_without_hard_links_nothing_is_kept(run_step, tmp_path, monkeypatch):
    def refuse(source, target, **_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    run_step("first")
    assert not list(tmp_path.glob("run/*/*"))
    assert run_step("second") == ["second", "second"]


def test_other_settings_code_or_inputs_have_checkpoints_of_their_own(tmp_path):
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    one.write_text("{}")
    other.write_text("[]")
    names = [
        fingerprint("step", one, other),
        fingerprint("step", other, one),
        fingerprint("step", one, None),
        fingerprint("other step", one, other),
    ]
    assert len(set(names)) == 4
    assert fingerprint("step", one, other) == names[0]
