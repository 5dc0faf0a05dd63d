"""Checkpoints of a training, so that however often it is interrupted it ends in the same weights.

    FOLDER/lock, holder.json          one trainer at a time, see `lock`
    FOLDER/{fingerprint}/finished/    what came out, as hard links; then there is nothing else
    FOLDER/{fingerprint}/attempts.json
    FOLDER/{fingerprint}/latest                 the name of the newest checkpoint
    FOLDER/{fingerprint}/step-00000010/         state/ by DeepSpeed, process-{rank}.pt,
                                                metrics.parquet, manifest.json with the digest
                                                of every file

Snakemake writes down that a job is done when it sees it end. If it was killed before (the login
node went down, say) it knows nothing of jobs that ended since, and may send them again: days of
training for what lies there. From the links, which take no room while the outputs are there, it is
made again in a moment, by the same settings, code and inputs only.

The fingerprint stands for the settings, the code and the inputs; that of checkpoints not for how
DeepSpeed shares a training out, so that it goes on in whatever allocation there is (see `layouts`).
A checkpoint appears by rename; the last two are kept. It holds what the next step depends on:
weights, optimizer, schedule, the random states of every process, and the metrics so far, whose
number is the step and so the place in the data. What a crash of the machine has left of a file is
seen by its digest.

DeepSpeed reads its files with pickle: resume only from folders that you wrote yourself.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import distributed

from bld.files import MANIFEST, appearing, read_manifest, sha256_of, write_json, write_text
from bld.folders import hard_link, whole_folder
from bld.models import device
from bld.pipeline.launch import UNFINISHED
from bld.pipeline.step import Step
from bld.training.deadline import SECONDS_PER_MINUTE, Deadline, say_last
from bld.training.layouts import Layout, in_any_layout, layout_of, readable
from bld.training.lock import locked

if TYPE_CHECKING:
    from deepspeed.runtime.engine import DeepSpeedEngine

KEPT = 2
HEARTBEAT_SECONDS = 10
STATE = "state"
FINISHED = "finished"
Table = list[dict[str, Any]]
S = TypeVar("S", bound=Step[Any, Any, Any])


def with_checkpoints(step: S, train: Callable[[S, Checkpoints], None]) -> None:
    """Run a training with its checkpoints, under their lock; a step that was finished before with
    the same settings, code and inputs is not run: its outputs are put back, and the record of how
    they were made.

    `step.record` knows the manifests that the step reads and its outputs. What other settings have
    left in the folder is removed when the step is done: their outputs were just replaced. Raises
    RuntimeError if another process works here.
    """
    record, outputs = step.record, step.record.outputs
    finished = step.checkpoints / fingerprint(step.identity, *record.inputs) / FINISHED
    own = step.checkpoints / fingerprint(in_any_layout(step), *record.inputs)
    is_first = os.environ.get("RANK", "0") == "0"
    with locked(step.checkpoints) if is_first else nullcontext():
        if _is_kept(outputs, finished):
            if is_first:
                _put_back(outputs, finished)
                record.was_put_back()
                print(f"done before with the same settings, code and inputs: taken from {finished}")
            return
        deadline = Deadline(step.runtime, step.checkpoint_minutes)
        try:
            train(step, Checkpoints(own, deadline, saved=record.saved))
        except SystemExit as end:
            # Outside a cluster, who sends a signal wants the training to end.
            if end.code == UNFINISHED and (os.environ.get("SLURM_JOB_ID") or not deadline.was_told):
                record.stopped()
            raise
        record.write()
        if is_first:
            for path in step.checkpoints.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
            _keep(outputs, finished)


def _keep(outputs: Sequence[Path], folder: Path) -> None:
    """Link files, and the folders of manifests, into a new `folder`; where the file system has no
    hard links nothing is kept."""
    with suppress(OSError), appearing(folder) as partial:
        for output, path in _pairs(outputs, partial):
            hard_link(_whole(output), path)


def _is_kept(outputs: Sequence[Path], folder: Path) -> bool:
    """Whether all outputs are in `folder`, and whole."""
    try:
        for output, path in _pairs(outputs, folder):
            if output.name == MANIFEST:
                whole_folder(path / MANIFEST)
            elif not path.exists():
                return False
    except ValueError:
        return False
    return True


def _put_back(outputs: Sequence[Path], folder: Path) -> None:
    """Make the outputs again from the links in `folder`; each appears by rename."""
    for output, path in _pairs(outputs, folder):
        hard_link(path, _whole(output))


def _pairs(outputs: Sequence[Path], folder: Path) -> Iterator[tuple[Path, Path]]:
    return ((output, folder / str(number)) for number, output in enumerate(outputs))


def _whole(output: Path) -> Path:
    return output.parent if output.name == MANIFEST else output


def fingerprint(identity: str, *inputs: Path | None) -> str:
    """A name for settings and code (the step's identity) together with the inputs' manifests."""
    digests = [sha256_of(path) if path else "" for path in inputs]
    return hashlib.sha256("\n".join([identity, *digests]).encode()).hexdigest()[:16]


class Checkpoints:
    """The checkpoints in `folder`, one training's; all processes call the same methods. `saved` is
    called after each checkpoint."""

    def __init__(
        self,
        folder: Path,
        deadline: Deadline,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        saved: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder, self._when_saved = folder, saved
        self._deadline, self._heartbeat_seconds = deadline, heartbeat_seconds
        self._saved = 0

    @contextmanager
    def attempt(self, engine: DeepSpeedEngine) -> Iterator[Table]:
        """Bring `engine` to where the last attempt saved and give the metrics up to there; inside
        the block SIGTERM and SIGINT are kept for `step_done`.

        Raises RuntimeError if the checkpoint is of a ZeRO stage that this one cannot go on from, or
        if the attempt before this one started at the same step, had most of its time and saved
        nothing.
        """
        table = self._restore(engine)
        self._saved = len(table)
        is_first = distributed.get_rank() == 0
        with (
            self._attempt_counted(len(table)) if is_first else nullcontext(),
            self._deadline.signals_noted(),
        ):
            yield table

    def step_done(self, engine: DeepSpeedEngine, table: Table) -> None:
        """Save if it is time to; exit with code 75 after saving if the job must stop.

        Raises OSError if there is no room to save.
        """
        self._deadline.step_done()
        reason = self._deadline.reason_to_stop
        if not _any_process(reason is not None):
            if _any_process(self._deadline.save_is_due):
                self._save(engine, table)
            return
        self._save(engine, table)
        if distributed.get_rank() == 0:
            reason = reason or "another process was told to stop"
            say_last(f"{reason}: saved at step {len(table)}, to be continued (exit {UNFINISHED})")
        raise SystemExit(UNFINISHED)

    def all_done(self, engine: DeepSpeedEngine, table: Table) -> None:
        """Save once more after the last step: what comes then, writing the outputs, can fail too.

        Raises OSError if there is no room to save.
        """
        self._save(engine, table)

    @contextmanager
    def _attempt_counted(self, step: int) -> Iterator[None]:
        """Keep on disk at which step an attempt started and, by the time of the file, until when it
        lived: it makes sense to send a job again that was killed early."""
        path = self.folder / "attempts.json"
        before = {"attempts": 0, "step": -1, "started": 0.0}
        if path.exists():
            before = json.loads(path.read_text())
            lived = (path.stat().st_mtime - before["started"]) / SECONDS_PER_MINUTE
            if before["step"] == step and 0 < self._deadline.runtime / 2 < lived:
                raise RuntimeError(
                    f"the attempt before this one started at step {step} too and saved nothing "
                    f"further in {lived:.0f} minutes, so this one would be in vain; read its log, "
                    "give the job more time (`runtime`) or memory, or let it save more often "
                    f"(`checkpoint_minutes`), then delete {path}"
                )
        now = {"attempts": before["attempts"] + 1, "step": step, "started": time.time()}
        write_json(path, now)
        ended = Event()
        heart = Thread(
            target=_touch_until, args=(ended, path, self._heartbeat_seconds), daemon=True
        )
        heart.start()
        try:
            yield
        finally:
            ended.set()
            heart.join()

    def _save(self, engine: DeepSpeedEngine, table: Table) -> None:
        if len(table) == self._saved:
            return
        began = time.monotonic()
        target = self.folder / f"step-{len(table):08d}"
        partial = self.folder / f".{target.name}.partial"
        try:
            self._fill(partial, engine, table)
            if distributed.get_rank() == 0:
                self._publish(partial, target)
        except (OSError, RuntimeError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise OSError(
                f"step {len(table)} could not be saved in {self.folder}: {error}; the last good "
                f"checkpoint is that of step {self._saved}. Make room and start again, it goes on "
                "from there"
            ) from error
        distributed.barrier()
        self._saved = len(table)
        self._when_saved()
        self._deadline.saved(time.monotonic() - began)

    def _fill(self, partial: Path, engine: DeepSpeedEngine, table: Table) -> None:
        rank, world_size = distributed.get_rank(), distributed.get_world_size()
        if rank == 0:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            pd.DataFrame(table).to_parquet(partial / "metrics.parquet", index=False)
        distributed.barrier()
        engine.save_checkpoint(
            partial, tag=STATE, save_latest=False, exclude_frozen_parameters=_some_frozen(engine)
        )
        torch.save(_random_states(), partial / f"process-{rank}.pt")
        distributed.barrier()
        written = (path for path in partial.rglob("*") if path.is_file())
        names = _of_first(sorted(str(path.relative_to(partial)) for path in written))
        own = {name: sha256_of(partial / name) for name in names[rank::world_size]}
        files = {name: digest for part in _gathered(own) for name, digest in part.items()}
        if rank == 0:
            about = {"step": len(table), "layout": layout_of(engine)._asdict(), "files": files}
            write_json(partial / MANIFEST, about)

    def _publish(self, partial: Path, target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
        write_text(self.folder / "latest", target.name + "\n")
        for old in self._newest_first()[KEPT:]:
            shutil.rmtree(self.folder / old)

    def _newest_first(self) -> list[str]:
        """The names of checkpoints, that which `latest` names before all others."""
        names = sorted((path.name for path in self.folder.glob("step-*")), reverse=True)
        pointer = self.folder / "latest"
        latest = pointer.read_text().strip() if pointer.exists() else None
        return sorted(names, key=lambda name: name != latest)

    def _restore(self, engine: DeepSpeedEngine) -> Table:
        for name in _of_first(self._newest_first()):
            path = self.folder / name
            problems = [text for text in _gathered(_problem(path)) if text]
            if not problems:
                return _load(engine, path)
            if distributed.get_rank() == 0:
                print(f"{path} cannot be read ({problems[0]}); the checkpoint before it is taken")
        return []


def _load(engine: DeepSpeedEngine, path: Path) -> Table:
    rank = distributed.get_rank()
    saved = Layout(**read_manifest(path / MANIFEST)["layout"])
    with readable(engine, path, STATE, saved) as folder:
        engine.load_checkpoint(folder, tag=STATE, load_module_strict=not _some_frozen(engine))
    if rank < saved.processes:
        _set_random_states(torch.load(path / f"process-{rank}.pt", weights_only=True))
    else:
        torch.manual_seed(torch.initial_seed() + rank)
    table = pd.read_parquet(path / "metrics.parquet")
    if rank == 0:
        print(f"going on after step {len(table)}, from {path}")
        if saved != (now := layout_of(engine)):
            print(
                f"it was saved by {saved}, this is {now}: the same rows in the same steps, summed "
                "in another order, so that losses are as near to those of an undisturbed training "
                "as rounding lets them be, and with dropout as another seed of it would"
            )
    return [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False)]


def _problem(path: Path) -> str | None:
    """What is wrong with the files of a checkpoint that this process reads."""
    rank, world_size = distributed.get_rank(), distributed.get_world_size()
    try:
        files = read_manifest(path / MANIFEST)["files"]
        for name in sorted(files)[rank::world_size]:
            if sha256_of(path / name) != files[name]:
                return f"{name} is not what was written"
    except (OSError, ValueError, KeyError) as error:
        return str(error)
    return None


def _some_frozen(engine: DeepSpeedEngine) -> bool:
    """Frozen weights are not saved: they are those that the module was made with."""
    return not all(parameter.requires_grad for parameter in engine.module.parameters())


def _random_states() -> dict[str, Any]:
    of_numpy: Any = np.random.get_state(legacy=False)
    key = torch.from_numpy(of_numpy["state"]["key"].astype(np.int64))
    return {
        "python": random.getstate(),
        "numpy": of_numpy | {"state": of_numpy["state"] | {"key": key}},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def _set_random_states(states: dict[str, Any]) -> None:
    of_numpy = states["numpy"]
    key = of_numpy["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state(of_numpy | {"state": of_numpy["state"] | {"key": key}})
    random.setstate(states["python"])
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"])


def _any_process(flag: bool) -> bool:
    """Whether it is true in any process."""
    if distributed.get_world_size() == 1:
        return flag
    flags = torch.tensor(float(flag), device=device())
    distributed.all_reduce(flags, distributed.ReduceOp.MAX)
    return bool(flags)


def _gathered(value: Any) -> list[Any]:
    """The values of all processes."""
    values: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


def _of_first(value: Any) -> Any:
    """The value of the first process."""
    values = [value]
    distributed.broadcast_object_list(values)
    return values[0]


def _touch_until(ended: Event, path: Path, seconds: float) -> None:
    while not ended.wait(seconds):
        with suppress(FileNotFoundError):
            os.utime(path)
