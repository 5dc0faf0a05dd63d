"""What a finished training made, kept as hard links, which take no room while the outputs are there.

Snakemake writes down that a job is done when it sees it end. If it was killed before (the login node
went down, say) it knows nothing of jobs that ended since, and may send them again: days of training
for what lies there. From these links it is made again in a moment, by the same settings, code and
inputs only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from bld.files import MANIFEST, appearing
from bld.folders import hard_link, whole_folder


def keep(outputs: Sequence[Path], folder: Path) -> None:
    """Link files, and the folders of manifests, into a new `folder`; where the file system has no
    hard links nothing is kept."""
    with suppress(OSError), appearing(folder) as partial:
        for output, path in _pairs(outputs, partial):
            hard_link(_whole(output), path)


def is_kept(outputs: Sequence[Path], folder: Path) -> bool:
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


def put_back(outputs: Sequence[Path], folder: Path) -> None:
    """Make the outputs again from the links in `folder`; each appears by rename."""
    for output, path in _pairs(outputs, folder):
        hard_link(path, _whole(output))


def _pairs(outputs: Sequence[Path], folder: Path) -> Iterator[tuple[Path, Path]]:
    return ((output, folder / str(number)) for number, output in enumerate(outputs))


def _whole(output: Path) -> Path:
    return output.parent if output.name == MANIFEST else output
