"""A training that goes on in another allocation: with another number of processes, or another ZeRO
stage, than its checkpoint was saved by.

What each process holds of the optimiser is cut by both. DeepSpeed's universal checkpoint, a file
for each parameter and moment, is read by any number of processes; it lies beside the checkpoint
while that is read.
"""

from __future__ import annotations

import shutil
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import distributed

from bld.pipeline.step import Step, line_of, parse_step

if TYPE_CHECKING:
    from deepspeed.runtime.engine import DeepSpeedEngine

SETTINGS = {"zero_stage", "offload"}
"""Of a training, what says how it is shared out and not what is computed."""
ALIKE = {0: "0", 1: "1 or 2", 2: "1 or 2", 3: "3"}
"""The stages that go on from one another, by each of them."""


class Layout(NamedTuple):
    """How the state of a training is shared out."""

    processes: int
    zero_stage: int

    def __str__(self) -> str:
        many = f"{self.processes} processes" if self.processes > 1 else "one process"
        return f"{many} with ZeRO stage {self.zero_stage}"


def layout_of(engine: DeepSpeedEngine) -> Layout:
    """How `engine` shares it out."""
    return Layout(distributed.get_world_size(), int(engine.zero_optimization_stage()))


def in_any_layout(step: Step[Any, Any, Any]) -> str:
    """The identity of a step but for how it is shared out."""
    return parse_step(line_of(step.code, _without_layout(step.settings.dump()))).identity


def _without_layout(settings: Any) -> Any:
    if not isinstance(settings, dict):
        return settings
    return {key: _without_layout(x) for key, x in settings.items() if key not in SETTINGS}


@contextmanager
def readable(engine: DeepSpeedEngine, path: Path, state: str, saved: Layout) -> Iterator[Path]:
    """A folder like the checkpoint `path`, which was saved in the layout `saved`, whose `state` the
    engine can load; all processes come here together.

    Raises RuntimeError for a stage that the engine's cannot go on from.
    """
    now = layout_of(engine)
    if ALIKE[saved.zero_stage] != ALIKE[now.zero_stage]:
        raise RuntimeError(
            f"{path} was saved by {saved}, and this is {now}: a training goes on with "
            f"`training.zero_stage` {ALIKE[saved.zero_stage]}; set that, or delete {path.parent} "
            "to start anew"
        )
    # Without ZeRO every process holds everything.
    if saved == now or not now.zero_stage:
        yield path
        return
    folder = path.with_name(f".{path.name}.universal")
    is_first = distributed.get_rank() == 0
    if is_first:
        _convert(path / state, folder / state)
    distributed.barrier()
    adamw = engine.optimizer.optimizer
    decays = [group["weight_decay"] for group in adamw.param_groups]
    engine._config.load_universal_checkpoint = True
    try:
        yield folder
    finally:
        engine._config.load_universal_checkpoint = False
    # At stage 3 all groups have been given the settings of the first, and one counter between them.
    for group, decay in zip(adamw.param_groups, decays, strict=True):
        group["weight_decay"] = decay
    for moments in adamw.state.values():
        moments["step"] = moments["step"].clone()
    distributed.barrier()
    if is_first:
        shutil.rmtree(folder)


def _convert(state: Path, target: Path) -> None:
    from deepspeed.checkpoint import ds_to_universal

    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    arguments = Namespace(
        input_folder=str(state),
        output_folder=str(target),
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,
    )
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        ds_to_universal.main(arguments)
