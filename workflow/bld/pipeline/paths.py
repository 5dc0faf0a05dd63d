"""Where things lie, and how rules name them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

REPORT = "results/report/index.html"
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
EVALUATED = rf"runs/{NAME}/evaluation|evaluation/(?:students|teachers)/{NAME}(?:/{NAME}){{0,3}}"


class Evaluated(NamedTuple):
    """A model that is evaluated: a run on its own validation split and against its own teacher, a
    student or a teacher on the documents and against the teacher that the path names, if it names
    them."""

    kind: str
    name: str
    corpus: str | None = None
    split: str | None = None
    teacher: str | None = None


def one_of(names: Iterable[str]) -> str:
    """A wildcard constraint: one of these names; without any, nothing."""
    return "|".join(map(re.escape, names)) or r"(?!)"


def model_folder(name: str) -> str:
    """The manifest of a model."""
    return f"resources/models/{name}/manifest.json"


def dataset_folder(name: str) -> str:
    """The manifest of a data set."""
    return f"resources/datasets/{name}/manifest.json"


def student_folder(name: str) -> str:
    """The manifest of a student before training."""
    return f"results/students/{name}/manifest.json"


def split_manifest(corpus: str | None, split: str | None) -> str:
    """The manifest of one split of a corpus."""
    return f"results/corpora/{corpus}/{split}/manifest.json"


def cache_manifest(teacher: str | None, corpus: str, split: str | None) -> str:
    """The manifest of a teacher's byte cache of one split."""
    return f"results/teachers/{teacher}/{corpus}/{split}/manifest.json"


def rendered_manifest(kind: str, name: str, corpus: str | None, split: str | None) -> str:
    """The manifest of a split as a model reads it; `kind`: "students", or "tokenizers" for models
    from scratch."""
    return f"results/rendered/{kind}/{name}/{corpus}/{split}/manifest.json"
