"""Where people follow a training while it runs: TensorBoard, trackio, Weights & Biases, or nowhere.

No result depends on it: `metrics.parquet` holds the numbers that are reported. TensorBoard's event
files lie in logs/tensorboard/{stage}/{name} and are read by `tensorboard --logdir
logs/tensorboard`. trackio and wandb are optional packages; they keep what they are given on this
machine unless their own environment variables say otherwise. A training that goes on from a
checkpoint goes on in the same place. The steps that it takes again are hidden by TensorBoard;
trackio may show them twice.
"""

from __future__ import annotations

import math
import os
import shutil
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

TRACKERS = ("tensorboard", "trackio", "wandb", "none")
SECONDS_BETWEEN_WRITES = 10


class Tracker(Protocol):
    """What shows the metrics of one training."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Show the finite ones of the values of a step."""
        ...

    def close(self) -> None:
        """Write what still waits to be written."""
        ...


class Tracking(NamedTuple):
    """Which of `TRACKERS` shows a training, and its folder, whose last two names name the
    training."""

    tracker: str
    folder: Path

    def begin(self, first_step: int) -> Tracker:
        """The tracker of a training that begins, or goes on, at `first_step`.

        A disk on which nothing can be written ends no training: then nothing is shown.
        """
        if self.tracker == "none":
            return _Nowhere()
        try:
            if first_step == 0:  # what other settings or an attempt that saved nothing have left
                shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.tracker == "tensorboard":
                return _TensorBoard(self.folder, first_step)
            return _Dashboard(self.tracker, self.folder)
        except OSError as error:
            print(f"{self.folder}: {error}; this training is not shown while it runs")
            return _Nowhere()


def add_tracker_arguments(parser: ArgumentParser) -> None:
    """The options that say how a training is shown; a tracker that is not installed is refused."""
    parser.add_argument("--tracker", type=_installed, default="none", help=", ".join(TRACKERS))
    parser.add_argument("--events", type=Path, default=Path("logs"), help="folder of the tracker")


def _installed(tracker: str) -> str:
    if tracker not in TRACKERS:
        raise ArgumentTypeError(f"expected one of {', '.join(TRACKERS)}, found {tracker!r}")
    if tracker != "none" and find_spec(tracker) is None:
        raise ArgumentTypeError(
            f"`training.tracker` is {tracker}, which is not installed here; install it in the "
            "environment of envs/train.yaml (`pip install` on one machine), or set another "
            "tracker, or none"
        )
    return tracker


class _Nowhere:
    def log(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


class _TensorBoard:
    def __init__(self, folder: Path, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(
            str(folder), purge_step=first_step, flush_secs=SECONDS_BETWEEN_WRITES
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        with suppress(OSError):  # a full disk
            for name, value in _finite(values).items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        with suppress(OSError):
            self._writer.close()


class _Dashboard:
    """trackio or wandb, which are called alike."""

    def __init__(self, package: str, folder: Path) -> None:
        os.environ.setdefault("WANDB_MODE", "offline")
        name = f"{folder.parent.name}-{folder.name}"
        options = {"id": name, "dir": str(folder)} if package == "wandb" else {}
        self._package: Any = import_module(package)
        self._package.init(project=Path.cwd().name, name=name, resume="allow", **options)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._package.log(_finite(values), step=step)

    def close(self) -> None:
        self._package.finish()


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}
