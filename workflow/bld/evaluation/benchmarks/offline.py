"""Running lm-eval's tasks, as they are, on data that lies in a folder, with no way to the network.

A task names its data set as the hub does, owner/name. Where the working directory holds a folder of
that name, `datasets` reads that instead; so the tasks need no change, and data that is not there is an error.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import datasets
import huggingface_hub
import nltk

NLTK_DATA = "nltk_data"
CACHES = ("HF_DATASETS_CACHE", "DOWNLOADED_DATASETS_PATH", "EXTRACTED_DATASETS_PATH")


@contextmanager
def offline(data: Path, name: str) -> Iterator[None]:
    """Work in the folder `data` of the benchmark `name`; relative paths mean something else inside.

    What `datasets` makes of the files is kept in a folder of this process alone, so that another
    revision is never taken for this one, jobs do not meet, and `data` may be read-only. The offline
    switches of the libraries are read from the environment when they are imported, which has happened
    by now, so they are set where they are read from.
    """

    def refuse(resource: str, *_: Any, **__: Any) -> NoReturn:
        raise ValueError(
            f"benchmark {name} needs NLTK's {resource}, which is not in {data / NLTK_DATA}: write "
            f"`nltk: [{resource}]` under benchmarks.{name}"
        )

    with ExitStack() as stack:
        stack.enter_context(chdir(data))
        cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="bld_datasets_"))
        for where, what, value in (
            *((datasets.config, place, Path(cache)) for place in CACHES),
            (datasets.config, "HF_HUB_OFFLINE", True),
            (huggingface_hub.constants, "HF_HUB_OFFLINE", True),
            (nltk.data, "path", [str(Path.cwd() / NLTK_DATA)]),
            (nltk, "download", refuse),
        ):
            stack.callback(setattr, where, what, getattr(where, what))
            setattr(where, what, value)
        yield
