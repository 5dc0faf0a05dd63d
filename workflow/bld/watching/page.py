"""What runs, as a page of a terminal: a block for every training that is not finished, and a line for
what is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from bld.training.live_metrics import Live, Row
from bld.watching.scorings import Scored, find_scorings
from bld.watching.trainings import State, Watched, find_trainings

# The values shown are means of so many steps, the curves are of so many.
RECENT_STEPS = 20
CURVE_STEPS = 400
CURVE_CELLS = 32
LEVELS = "▁▂▃▄▅▆▇█"
LOSSES = {
    "loss": "loss",
    "token_loss": "token loss",
    "byte_loss": "byte loss",
    "kl_loss": "KL loss",
    "teacher_loss": "loss against the teacher",
}
COLOURS = {
    State.RUNNING: "green",
    State.STARTING: "cyan",
    State.ENDING: "cyan",
    State.BROKEN: "bold red",
    State.WAITING: "yellow",
    State.FINISHED: "dim",
}


class Line(NamedTuple):
    """Something finished; they are shown in this order. `since`: seconds."""

    since: float
    name: str
    size: str
    result: str


def watch_page(checkpoints: Path, results: Path) -> RenderableType:
    """What there is to see at this moment in the two folders."""
    trainings = find_trainings(checkpoints)
    scorings = find_scorings(checkpoints, results)
    blocks = [_block(one) for one in trainings if one.state != State.FINISHED]
    blocks += [_scoring(one) for one in scorings if one.documents_done < one.documents]
    lines = [_finished_training(one) for one in trainings if one.state == State.FINISHED]
    lines += [_finished_scoring(one) for one in scorings if one.documents_done >= one.documents]
    parts: list[RenderableType] = [_headline(trainings, checkpoints)]
    for block in blocks:
        parts += [Rule(style="dim"), block]
    if lines:
        parts += [Rule(style="dim"), Text("Finished", style="bold"), _table(sorted(lines))]
    if len(parts) == 1:
        parts += [Text("Nothing was ever started there; --checkpoints names another folder.")]
    return Group(*parts)


def _headline(trainings: Sequence[Watched], checkpoints: Path) -> Text:
    running = sum(one.state == State.RUNNING for one in trainings)
    clock = time.strftime("%H:%M:%S")
    told = Text(f"{_count(running, 'training')} running" if running else "No training is running")
    told.stylize("bold")
    return told.append(f" in {checkpoints.absolute()} at {clock}", style="not bold dim")


def _block(one: Watched) -> RenderableType:
    head = Table.grid(expand=True)
    head.add_column(ratio=1)
    head.add_column(justify="right")
    colour = COLOURS[one.state]
    head.add_row(Text(one.name, style="bold"), Text(f"● {one.state.value}", style=colour))
    parts: list[RenderableType] = [head]
    if one.live:
        parts += [_bar(len(one.live.rows), one.live.steps, "steps", colour), _curves(one.live)]
    return Group(*parts, Text(" · ".join(_facts(one)), style="dim"))


def _bar(done: int, total: int, unit: str, colour: str) -> Table:
    grid = Table.grid(expand=True, padding=(0, 1, 0, 0))
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    bar = ProgressBar(total, done, complete_style=colour, finished_style=colour)
    share = f"{done / total:4.0%}" if total else ""
    grid.add_row(bar, Text(f"{done:,} of {total:,} {unit} {share}"))
    return grid


def _curves(live: Live) -> Table:
    """One line for every loss, and one for what was found on development documents."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for justify in ("left", "right", "left", "left"):
        grid.add_column(justify=justify, no_wrap=True)
    losses = {name: _values(live.rows[-CURVE_STEPS:], name) for name in LOSSES}
    there = {name: values for name, values in losses.items() if values}
    if len(there) == 2:  # The whole has one part, and is it.
        del there["loss"]
    for name, values in there.items():
        mean = f"{_mean(values[-RECENT_STEPS:]):.3f}"
        grid.add_row(LOSSES[name], mean, Text(_curve(values), "cyan"), f"last {len(values)} steps")
    if looks := _values(live.rows, "dev_bits_per_byte"):
        best = f"best {min(looks):.3f}"
        grid.add_row("dev bits/byte", f"{looks[-1]:.3f}", Text(_curve(looks), "magenta"), best)
    return grid


def _facts(one: Watched) -> Iterator[str]:
    now = time.time()
    recent = one.live.rows[-RECENT_STEPS:] if one.live else []
    if one.live and recent:
        seconds = sum(row["seconds"] for row in recent)
        yield f"{sum(row['tokens'] for row in recent) / seconds:,.0f} tokens/s"
    if one.state == State.RUNNING and one.left is not None:
        yield f"{span(one.left)} left"
    if one.saved:
        yield f"saved at {one.saved.steps:,}, {span(now - one.saved.time)} ago"
    else:
        yield "nothing saved yet"
    if one.attempts:
        yield f"attempt {one.attempts}"
    yield from _holder(one)
    if one.state == State.BROKEN:
        yield "read its log"
    if one.state != State.RUNNING:
        yield f"last sign of life {span(now - one.seen)} ago"


def _holder(one: Watched) -> Iterator[str]:
    if "pid" in one.holder:
        yield f"{one.holder['host']}:{one.holder['pid']}"
    if "slurm_job" in one.holder:
        yield f"SLURM job {one.holder['slurm_job']}"


def _scoring(one: Scored) -> RenderableType:
    bar = _bar(one.documents_done, one.documents, "documents", "blue")
    seen = f"last part {span(time.time() - one.seen)} ago"
    return Group(Text(f"scoring {one.name}", style="bold"), bar, Text(seen, style="dim"))


def _finished_training(one: Watched) -> Line:
    rows = one.live.rows if one.live else []
    losses, looks = _values(rows, "loss"), _values(rows, "dev_bits_per_byte")
    result = f"loss {_mean(losses[-RECENT_STEPS:]):.3f}" if losses else ""
    if looks:
        result = f"{looks[-1]:.3f} dev bits/byte"
    size = _count(len(rows), "step") if rows else ""
    return Line(time.time() - one.seen, one.name, size, result)


def _finished_scoring(one: Scored) -> Line:
    return Line(time.time() - one.seen, one.name, _count(one.documents, "document"), "")


def _table(lines: Sequence[Line]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(overflow="fold")
    for _ in range(3):
        grid.add_column(no_wrap=True)
    for line in lines:
        grid.add_row(*line[1:], Text(f"{span(line.since)} ago", style="dim"))
    return grid


def _values(rows: Sequence[Row], name: str) -> list[float]:
    return [row[name] for row in rows if name in row]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _curve(values: Sequence[float]) -> str:
    """A line of blocks from the least to the greatest, each the mean of as many values."""
    cells = min(len(values), CURVE_CELLS)
    edges = [len(values) * i // cells for i in range(cells + 1)]
    means = [_mean(values[a:b]) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(LEVELS) - 1) / (high - low) if high > low else 0.0
    return "".join(LEVELS[round((mean - low) * scale)] for mean in means)


def span(seconds: float) -> str:
    """A time as a person says it."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{max(0, round(seconds))} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // (24 * 60)} days"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
