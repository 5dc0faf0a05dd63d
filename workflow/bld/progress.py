"""Progress that reads well on a terminal and in a log file: a moving bar there, a line now and then
here."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10


class _Lines:
    """A stream on which each redrawing of the bar is a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write one state of the bar."""
        if line := text.strip("\r\n"):
            self._stream.write(line + "\n")

    def flush(self) -> None:
        """Hand the lines on."""
        self._stream.flush()


def progress(what: str, total: int | None, unit: str, **options: Any) -> tqdm:
    """A tqdm bar on standard error, named `what`, counting `unit`s."""
    on_terminal = sys.stderr.isatty()
    return tqdm(
        desc=what,
        total=total,
        unit=" " + unit,
        file=sys.stderr if on_terminal else _Lines(sys.stderr),
        mininterval=0.2 if on_terminal else SECONDS_BETWEEN_LINES,
        maxinterval=SECONDS_BETWEEN_LINES,
        dynamic_ncols=on_terminal,
        ncols=None if on_terminal else 110,
        ascii=not on_terminal,
        **options,
    )
