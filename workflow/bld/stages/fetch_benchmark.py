"""Fetch the data sets of a benchmark from the hub, once, at pinned commits.

Each comes into a folder of its own name, owner/name, which is where lm-eval's tasks then find it;
a metric into one of its name alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nltk

from bld.config.evaluation import kind_of
from bld.evaluation.benchmarks.tasks import NLTK_DATA, check_code
from bld.folders import new_folder
from bld.hub import fetch, licence_of
from bld.pipeline.step import File, Files, stage
from bld.pipeline.step_settings import FetchBenchmark


class Outputs(Files):
    manifest: File


def main() -> None:
    """Fetch data sets, and what NLTK needs, into the folder of the manifest."""
    with stage(FetchBenchmark, Files, Outputs) as step:
        settings = step.settings
        about: dict[str, Any] = {"source": settings.dump(), "licence": {}}
        with new_folder(step.outputs.manifest.parent, about) as folder:
            try:
                check_code(step.outputs.manifest.parent.name, settings.task, settings.unsafe_code)
                for name, revision in sorted(settings.data.items()):
                    kind = kind_of(name)
                    target = folder / (Path(name).name if kind == "space" else name)
                    fetch(name, revision, kind, ["*"], target)
                    about["licence"][name] = licence_of(target)
                for resource in settings.nltk:
                    _fetch_for_nltk(resource, folder / NLTK_DATA)
            except ValueError as error:
                raise SystemExit(str(error)) from None


def _fetch_for_nltk(resource: str, folder: Path) -> None:
    """NLTK's own downloader, which checks what comes against the digests of its index."""
    try:
        nltk.download(resource, str(folder), quiet=True, raise_on_error=True)
    except ValueError as error:
        raise ValueError(
            f"NLTK's {resource}: {error}; fetch where there is internet, which is a login node as "
            "a rule"
        ) from None


if __name__ == "__main__":
    main()
