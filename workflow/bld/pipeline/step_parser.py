"""The arguments of stages that are not yet called by `step.stage`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bld.files import MANIFEST
from bld.pipeline.record import Recorder
from bld.pipeline.step import parse_step


class StepParser(argparse.ArgumentParser):
    """The arguments of a stage: its step, and the files that it reads and writes, so that the
    record of what it did follows from what it declares."""

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description)
        self._inputs: list[str] = []
        self._outputs: list[str] = []
        self.add_argument("--step", type=parse_step, required=True, help="settings and code digest")
        self.add_argument("--record", type=Path, help="where to write what was done")
        self.add_argument("--log", type=Path, help="where what this prints is kept")

    def reads(self, flag: str, **options: Any) -> None:
        """An input: a file, or a folder by its manifest; `nargs="?"` where it may be missing, "+"
        or "*" where there may be several."""
        self._inputs.append(self._file(flag, options))

    def writes(self, flag: str, **options: Any) -> None:
        """An output: a file, or the manifest of a folder."""
        self._outputs.append(self._file(flag, options))

    def _file(self, flag: str, options: dict[str, Any]) -> str:
        common: dict[str, Any] = {"type": Path, "required": "nargs" not in options}
        return self.add_argument(flag, **common | options).dest

    @contextmanager
    def recorded(self) -> Iterator[argparse.Namespace]:
        """The parsed arguments, with the `Record` of this step in place of its path; if the block
        ends without an error, the record is written."""
        arguments = self.parse_args()
        arguments.record = Recorder(
            arguments.record,
            Path(sys.argv[0]).stem,
            arguments.step,
            arguments.log,
            [path for name in self._inputs for path in _stand_for(getattr(arguments, name))],
            [getattr(arguments, name) for name in self._outputs],
        )
        yield arguments
        arguments.record.write()


def _stand_for(given: Path | list[Path] | None) -> list[Path | None]:
    """Of a folder its manifest; of nothing None."""
    paths = given if isinstance(given, list) else [given]
    return [path / MANIFEST if path and path.is_dir() else path for path in paths or [None]]
