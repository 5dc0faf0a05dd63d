"""What every definition of a method has: its settings as fields, all else as class attributes.

A method is two files: `config/methods/{name}.py`, a subclass of `Method`, which needs no torch and
is no part of the code that a training is rerun for; and `training/objectives/{name}.py`, its
losses.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from bld.config.documents import Count, NonNegative, Positive, Section

PALETTE = BLUE, ORANGE, GREEN, PINK, OCHRE, VIOLET, TEAL = (
    *("#2a78c2", "#cf5c12", "#0b8f6a", "#b9629a", "#9a7300", "#7f63c9", "#1c8ca8"),
)
"""After Okabe and Ito (2008), with lightness levelled: each is at least 3:1 against both cards."""


class Series(NamedTuple):
    """How the report writes and draws runs of a method; without a colour it is given one.

    Markers are o, s, ^, D and v, each with dashes of its own: they tell apart series of one colour.
    """

    name: str
    """What `Method.series_name` gives, followed by ` plain` for runs without token
    cross-entropy."""
    label: str
    colour: str | None = None
    marker: str = "o"


class Loss(NamedTuple):
    """A part of an objective: its column in the metrics, and its panel in the report's figure of
    losses."""

    column: str
    panel: str
    unit: str = "nats"
    is_logarithmic: bool = False

    @property
    def part(self) -> str:
        """What it is called in the report's table of losses."""
        return self.column.removesuffix("_loss")


TOKEN_LOSS = Loss("token_loss", "Token loss")
BYTE_LOSS = Loss("byte_loss", "Byte loss")
KL_LOSS = Loss("kl_loss", "KL to the teacher")
TEACHER_LOSS = Loss("teacher_loss", "Loss against the teacher", "unit of the method", True)


class Method(Section):
    """A method, with the public settings of its authors as defaults."""

    reruns = "runs of this method and the report"
    name: ClassVar[str]
    """That of its module."""
    title: ClassVar[str]
    """What it is called in a sentence."""
    paper: ClassVar[str | None] = None
    """Its number at arXiv."""
    tags: ClassVar[Sequence[str]] = ()
    """Tags of a model card, besides those that all have."""
    teaching: ClassVar[str] = "at its own tokens"
    """In a model card, the end of "It learned from what the teacher says ..."."""
    series: ClassVar[Sequence[Series]] = ()
    """Those that have a label of their own."""
    losses: ClassVar[Sequence[Loss]] = (TOKEN_LOSS, TEACHER_LOSS)
    """The parts that its objective returns."""
    vocabulary_map: ClassVar[str | None] = None
    """The module of `tokenization.maps` that makes the map between vocabularies that it reads."""

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        cls.name = cls.__module__.rpartition(".")[2]
        cls.reruns = f"runs with method {cls.name} and the report"

    @property
    def series_name(self) -> str:
        """The name of the series of runs with these settings."""
        return self.name

    @property
    def objective(self) -> str:
        """What its loss is, in words for a model card."""
        return inspect.getdoc(type(self)) or ""

    @property
    def reads_tokens(self) -> bool:
        """Whether it learns from the teacher's tokens (`top_k_tokens`), not from its bytes
        alone."""
        return True

    @property
    def warmed_up_head(self) -> str | None:
        """The byte head that is trained before distillation begins, if it needs one."""
        return None


class Distillation(Method):
    """A method that learns from a teacher, beside the text."""

    token_weight: NonNegative = 1.0
    """Weight of the token cross-entropy."""


class Sampling(Section):
    """On-policy distillation: documents whose supervised text the student writes itself, anew in
    each step; the teacher scores them, and no cross-entropy is taken on them. Needs a teacher with
    `mode: live`."""

    reruns = "runs that read it, their evaluation and the report"

    on_policy: float = Field(0.0, ge=0, le=1)
    """Fraction of the documents of a step that the student writes; 0 for none."""
    prompt_bytes: Count = 128
    """How much of a plain text is left for the student to go on from; of a chat, all before the
    first answer is."""
    completion_tokens: Count = 128
    """Longest text that the student writes, in its tokens; it is never longer than what it stands
    for."""
    temperature: Positive = 1.0
    """Temperature at which the student's tokens are drawn; SimCT's authors take 0.6."""
