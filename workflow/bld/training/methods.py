"""From the name of a method to what is trained: its objective, and what the objective reads beside
the batch.

An objective's module has the name of its method and is imported by it, so that the code of a run is
that of its own method: the digest of a step knows, see `provenance.fingerprint`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn
from transformers import PreTrainedModel

from bld.tokenization.rendering import Renderer
from bld.tokenization.vocabulary import Vocabulary
from bld.training.batches import Histories
from bld.training.trainee import Objective


class Scene(NamedTuple):
    """What an objective may be built from: the student and its renderer; the teacher's vocabulary, for
    methods that read its tokens; the folder of a warmed-up byte head, and the file of a vocabulary map,
    for methods that have one."""

    lm: PreTrainedModel
    renderer: Renderer
    teacher: Vocabulary | None = None
    warmup: Path | None = None
    map: Path | None = None


class Built(NamedTuple):
    """An objective, its byte head, and the histories that its batches need."""

    objective: Objective
    head: nn.Module | None = None
    histories: Histories | None = None


def build(method: str, settings: Mapping[str, Any], scene: Scene) -> Built:
    """The objective of a method with these settings."""
    return import_module(f"bld.training.objectives.{method}").build(settings, scene)
