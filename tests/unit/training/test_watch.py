"""What a training shows of itself while it runs, and how it is watched."""

import builtins
import io
import json
import os
import re
import runpy
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from rich.text import Text

from bld.config.settings import Training
from bld.training.batches import Batches
from bld.training.checkpoints import Checkpoints
from bld.training.deadline import Deadline
from bld.training.development import Development
from bld.training.live_metrics import live_metrics, read_live, without_missing
from bld.training.lock import locked
from bld.training.loop import train
from bld.watching.page import span, watch_page
from bld.watching.server import as_html, server
from bld.watching.trainings import State, find_trainings

SCRIPT = Path(__file__).with_name("toy_training.py")
STEPS = 6


class Killed(BaseException):
    """Nobody catches it."""


class Mortal(Batches):
    """Batches that end the training when the step after `steps` comes."""

    def __init__(self, documents, steps):
        super().__init__(documents)
        self.steps_left = steps

    def step(self, *arguments):
        self.steps_left -= 1
        if self.steps_left < 0:
            raise Killed
        return super().step(*arguments)


@pytest.fixture(scope="module")
def toy():
    return SimpleNamespace(**runpy.run_path(str(SCRIPT)))


@pytest.fixture
def own(tmp_path):
    """Where a training of a run has its checkpoints."""
    return tmp_path / "checkpoints/distill/bld/0123456789abcdef"


@pytest.fixture
def attempt(toy, own):
    """Train until it is done or was killed after so many steps; its metrics."""

    def run(steps=STEPS, minutes=0):
        size = {"sequence_length": 40, "batch_size": 2, "micro_batch_size": 2}
        settings = Training(steps=STEPS, schedule="constant", **size)
        checkpoints = Checkpoints(own, Deadline(0, minutes))
        data = Mortal(toy.documents(20, 0), steps)
        held_out = Development(Batches(toy.documents(5, 1)), 2)
        with locked(own.parent):
            try:
                return train(
                    toy.new_trainee(),
                    data,
                    settings,
                    0,
                    "toy",
                    development=held_out,
                    checkpoints=checkpoints,
                )[1]
            except Killed:
                return None

    return run


def rewrite_lock(own, **changes):
    """As if somebody else had held it."""
    path, times = own.parent / "lock", (own.parent / "lock").stat()
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    os.utime(path, (times.st_atime, times.st_mtime))


def let_time_pass(own, seconds):
    for path in (own / "attempts.json", own.parent / "lock"):
        if path.exists():
            before = path.stat().st_mtime - seconds
            os.utime(path, (before, before))


def state_of(own):
    [training] = find_trainings(own.parents[2])
    return training.state


def printed(folder, width=100):
    console = Console(width=width, record=True, file=io.StringIO(), markup=False)
    console.print(watch_page(folder / "checkpoints", folder / "results"))
    return console.export_text()


def test_a_training_that_was_killed_and_resumed_shows_every_step_once_as_in_its_metrics(
    attempt, own
):
    attempt(3)
    assert len(read_live(own).rows) == 3
    attempt(2, minutes=60)
    assert len(read_live(own).rows) == 5  # three that are saved, and two that are not
    metrics = attempt(minutes=60)
    phase, steps, rows = read_live(own)
    assert (phase, steps) == ("toy", STEPS)
    shown = pd.DataFrame(rows).reindex(columns=metrics.columns)
    pd.testing.assert_frame_equal(shown, metrics, check_dtype=False, check_exact=True)


def test_a_line_that_is_not_whole_is_not_there_yet(tmp_path):
    with live_metrics(tmp_path, "toy", 9, [{"step": 0}]) as add:
        add({"step": 1, "loss": 2.5, "kl_loss": float("nan")})
        with open(tmp_path / "live.jsonl", "a") as file:
            file.write('{"step": 2, "lo')
        assert read_live(tmp_path) == ("toy", 9, [{"step": 0}, {"step": 1, "loss": 2.5}])


class FullDisk:
    """A file that cannot be written to."""

    def write(self, content=b""):
        raise OSError(28, "No space left on device")

    close = write


@pytest.mark.parametrize("fails", ["opening", "writing"])
def test_a_full_disk_ends_no_training_for_the_sake_of_its_watchers(
    attempt, own, monkeypatch, fails
):
    whole = builtins.open

    def full(path, *arguments, **options):
        if not str(path).endswith(".live.jsonl.partial"):
            return whole(path, *arguments, **options)
        if fails == "opening":
            FullDisk().write()
        return FullDisk()

    monkeypatch.setattr(builtins, "open", full)
    assert len(attempt()) == STEPS
    assert read_live(own) is None and find_trainings(own.parents[2])[0].live is None


def test_without_a_folder_nothing_is_shown():
    with live_metrics(None, "toy", 1, []) as add:
        add({"step": 0})


def test_what_a_training_is_doing_is_told_by_its_files(attempt, own):
    with locked(own.parent):
        assert state_of(own) == State.STARTING
    attempt(3)
    assert state_of(own) == State.RUNNING
    let_time_pass(own, 3600)
    assert state_of(own) == State.WAITING
    with locked(own.parent):
        assert state_of(own) == State.STARTING
    attempt(2, minutes=60)
    let_time_pass(own, 3600)
    assert state_of(own) == State.BROKEN
    attempt()
    assert state_of(own) == State.ENDING
    (own / "finished").mkdir()
    assert state_of(own) == State.FINISHED
    assert find_trainings(own.parents[2])[0].attempts == 3


def test_a_process_of_this_machine_that_is_gone_does_not_run(attempt, own):
    attempt(3)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    rewrite_lock(own, pid=gone.pid)
    assert state_of(own) == State.WAITING
    rewrite_lock(own, host="node7")
    assert state_of(own) == State.RUNNING


def test_one_of_another_machine_is_believed_to_start_for_an_hour(own):
    with locked(own.parent):
        pass
    rewrite_lock(own, host="node7")
    assert state_of(own) == State.STARTING
    let_time_pass(own, 2 * 3600)
    assert state_of(own) == State.BROKEN


def test_files_that_vanish_or_are_torn_end_no_watching(attempt, own, tmp_path):
    attempt(3)
    for path in (own / "attempts.json", own / "live.jsonl", own.parent / "lock"):
        path.write_text('{"steps')
        assert "distill/bld" in printed(tmp_path)
        path.unlink()
        printed(tmp_path)


def test_the_page_tells_the_last_values_their_means_and_what_is_left(own, tmp_path):
    """Twenty steps of this attempt took a minute, sixty are to come."""
    with locked(own.parent):
        own.mkdir()
        rows = [
            {"step": i, "tokens": 600, "seconds": 2.0, "loss": i, "byte_loss": i} for i in range(30)
        ]
        rows[9]["dev_bits_per_byte"], rows[19]["dev_bits_per_byte"] = 1.25, 1.5
        with live_metrics(own, "distill", 90, rows):
            now = time.time()
            begun = {"attempts": 2, "step": 10, "started": now - 60}
            (own / "attempts.json").write_text(json.dumps(begun))
            os.utime(own / "live.jsonl", (now, now))
            (own / "latest").write_text("step-00000010\n")
            page = printed(tmp_path)
    assert "1 training running" in page and "● running" in page
    assert "30 of 90 steps  33%" in page
    assert re.search(r"byte loss +19\.500", page) and "token loss" not in page  # 10 to 29
    assert re.search(r"dev bits/byte +1\.500 .*best 1\.250", page)
    assert "300 tokens/s · 3 min left · saved at 10, 0 s ago · attempt 2" in page
    assert f"{socket.gethostname()}:{os.getpid()}" in page


def test_what_a_rival_method_learns_by_is_told_beside_the_whole(own, tmp_path):
    with locked(own.parent):
        own.mkdir()
        losses = {"loss": 5.0, "token_loss": 2.0, "teacher_loss": 3.0}
        rows = [{"step": 1, "tokens": 600, "seconds": 2.0, **losses}]
        with live_metrics(own, "distill", 90, rows):
            page = printed(tmp_path)
    for loss, value in (("loss", 5), ("token loss", 2), ("loss against the teacher", 3)):
        assert re.search(rf"^ *{loss} +{value}\.000", page, re.MULTILINE)


@pytest.mark.parametrize("width", [72, 80, 120])
def test_nothing_is_cut_off_on_a_narrow_terminal(attempt, tmp_path, width):
    attempt(5)
    page = printed(tmp_path, width)
    assert "…" not in page and max(map(len, page.splitlines())) <= width


def test_what_is_finished_is_a_line_with_its_result(attempt, own, tmp_path):
    metrics = attempt()
    (own / "finished/0").mkdir(parents=True)
    metrics.to_parquet(own / "finished/1")
    result = metrics["dev_bits_per_byte"].iloc[-1]
    assert re.search(rf"distill/bld +6 steps +{result:.3f} dev bits/byte", printed(tmp_path))


def test_the_scoring_of_a_split_counts_documents_of_parts_and_of_whole_shards(tmp_path):
    corpus = tmp_path / "results/corpora/docs/train"
    scored = tmp_path / "checkpoints/score_teacher/big/docs/train"
    tables = {
        corpus / "00000-of-00002.parquet": 7,
        corpus / "00001-of-00002.parquet": 9,
        scored / "00000-of-00002.parquet": 7,
        scored / "00001-of-00002/0123/00000.parquet": 4,
    }
    for path, count in tables.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"id": np.arange(count)}).to_parquet(path)
    page = printed(tmp_path)
    assert "scoring big/docs/train" in page and "11 of 16 documents  69%" in page
    pd.DataFrame({"id": np.arange(9)}).to_parquet(scored / "00001-of-00002.parquet")
    (scored / "00001-of-00002/0123/00000.parquet").unlink()
    assert re.search(r"Finished\nbig/docs/train +16 documents", printed(tmp_path))


def watch(folder, *arguments):
    command = [sys.executable, "-m", "bld.stages.watch", *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


def test_on_an_empty_folder_it_says_so_and_where_it_looked_without_control_characters(tmp_path):
    done = watch(tmp_path, "--once")
    assert (done.returncode, done.stderr) == (0, "")
    assert "No training is running" in done.stdout and "\x1b" not in done.stdout
    assert str(tmp_path / "checkpoints") in done.stdout.replace("\n", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--serve", "web"], ["--every", "0"], ["--every", "soon"]])
def test_what_cannot_be_meant_is_refused_with_what_was_found(tmp_path, arguments):
    done = watch(tmp_path, *arguments)
    assert done.returncode == 2 and repr(arguments[1]) in done.stderr


def test_the_page_served_is_all_that_is_served_and_other_machines_cannot_ask(tmp_path):
    with server("127.0.0.1", 0, lambda: Text("<b>&run</b>"), 3) as serving:
        assert serving.server_address[0] == "127.0.0.1"
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{serving.server_port}"
        page = urllib.request.urlopen(address).read().decode()
        assert "&lt;b&gt;&amp;run&lt;/b&gt;" in page and "<b>" not in page
        assert '<meta http-equiv="refresh" content="3">' in page and "<script" not in page
        for path in ("/etc/passwd", "/../pyproject.toml", "/?x"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(address + path)
        with pytest.raises(urllib.error.HTTPError, match="501"):
            urllib.request.urlopen(address, data=b"x")
        serving.shutdown()


def test_names_of_runs_are_escaped(attempt, own, tmp_path):
    attempt(1)
    own.parent.rename(own.parents[1] / "<script>[bold]")
    page = as_html(watch_page(tmp_path / "checkpoints", tmp_path / "results"), 5)
    assert "distill/&lt;script&gt;[bold]" in page and "<script" not in page


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.4, "0 s"), (59, "59 s"), (90, "2 min"), (7500, "2 h 05 min"), (3 * 86400, "3 days")],
)
def test_times_are_told_as_people_do(seconds, told):
    assert span(seconds) == told


def test_a_value_that_is_missing_takes_no_room():
    row = {"loss": 1.0, "kl_loss": float("nan"), "phase": "toy", "dev": None}
    assert without_missing(row) == {"loss": 1.0, "phase": "toy"}
