"""Every setting of the workflow, defined once: here the runs, what is measured of them, and the
configuration as a whole.

`config/schema.json` and `config/README.md` are generated from these models. A model holds
definitions only: what a step does with a setting is the step's business, so that the code
fingerprint of a step can leave this module out and look at the values. `reruns` says in words which
steps read a section. Cross-field rules live in `checks`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from bld.config.archive import Archive, Author
from bld.config.documents import (
    Columns,
    Count,
    Dataset,
    Entries,
    Expected,
    Name,
    Positive,
    Section,
    Seed,
    Split,
)
from bld.config.evaluation import Audit, Benchmark, Evaluation, LocalBenchmark
from bld.config.method import Method, Sampling
from bld.config.methods.bld import BldSettings
from bld.config.models import (
    Architecture,
    Average,
    Histories,
    Lora,
    Model,
    Rendering,
    RunTraining,
    Scoring,
    Scratch,
    ScratchTokenizer,
    Shape,
    Student,
    Teacher,
    Training,
)
from bld.config.plan import Plan
from bld.config.registry import METHODS, Corpus, Methods

__all__ = [
    "COMMON",
    "Architecture",
    "Archive",
    "Audit",
    "Author",
    "Average",
    "Benchmark",
    "BldSettings",
    "Columns",
    "Corpus",
    "Dataset",
    "Evaluation",
    "Expected",
    "HeadWarmup",
    "Histories",
    "LocalBenchmark",
    "Lora",
    "Method",
    "Methods",
    "Model",
    "Plan",
    "Rendering",
    "Report",
    "Run",
    "RunTraining",
    "Sampling",
    "Scoring",
    "Scratch",
    "ScratchTokenizer",
    "Section",
    "Settings",
    "Shape",
    "Split",
    "Student",
    "Teacher",
    "Training",
]


COMMON = ("training", "head_warmup", *Methods.model_fields)
"""Sections that every run inherits."""


class HeadWarmup(Section):
    """Training of the byte head before distillation."""

    reruns = "the warm-up of runs with a byte head, those runs and the report"

    steps: Count = 200
    """Optimiser steps."""
    learning_rate: Positive = 1e-3
    """Peak learning rate; all else is as in `training`."""
    train_body: bool = False
    """Train the student's body too, all of its weights whatever `training.lora` says, not only the
    byte head."""
    patience: Count | None = None
    """Stop after this many evaluations in which the byte loss did not fall
    (`training.evaluate_every`); null never stops."""


class _Run(Section):
    """A run, but for the settings of its method."""

    reruns = "this run and the report"
    renamed: ClassVar = {"warmup": "head_warmup"}

    method: Literal[*METHODS]  # type: ignore[valid-type]
    """The objective: token cross-entropy alone (sft), or a method with a section of its name."""
    student: Name
    """The entry under `students`."""
    teacher: Name | None = None
    """The entry under `teachers`; sft only measures its distance to it."""
    corpus: Name
    """The entry under `corpora`."""
    train_split: Name = "train"
    """The split that it is trained on."""
    validation_split: Name = "validation"
    """The split that it is evaluated on; never trained on."""
    development_split: Name | None = None
    """The split that is evaluated during training; neither trained on nor reported."""
    seed: Seed = 0
    """Seed of the data order and of the byte head."""
    training: RunTraining = RunTraining()
    """Overrides of `training`."""
    head_warmup: HeadWarmup = HeadWarmup()
    """Overrides of `head_warmup`."""
    sampling: Sampling = Sampling()
    """What the student writes itself while it is trained."""


class Run(Methods, _Run):
    """One training run; what it does not say itself it takes from the sections of the same name
    above."""

    reruns = "this run and the report"

    @property
    def taught(self) -> Method | None:
        """The settings of its method; none of sft."""
        return getattr(self, self.method, None)

    @property
    def reads_tokens(self) -> bool:
        """Whether it learns from its teacher's tokens, not from its bytes alone."""
        return self.taught is not None and self.taught.reads_tokens

    @property
    def vocabulary_map(self) -> str | None:
        """The kind of map between its student's vocabulary and its teacher's that it reads."""
        return self.taught.vocabulary_map if self.taught else None

    @property
    def has_warmup(self) -> bool:
        """Whether it has a byte head with weights of its own, which is warmed up."""
        return self.taught is not None and self.taught.warmed_up_head is not None

    @property
    def has_development(self) -> bool:
        """Whether it is evaluated while it is trained."""
        return bool(self.development_split and self.training.evaluate_every)

    def own(self, **how: Any) -> dict[str, Any]:
        """Its settings as `model_dump` gives them, `how` it is told to, without those of other
        methods."""
        return self.model_dump(exclude=set(Methods.model_fields) - {self.method}, **how)


class Report(Section):
    """The page at the end."""

    reruns = "the report"

    title: str = "Byte-level distillation"
    """Its heading."""


class _Settings(Section):
    """The configuration, but for the settings of methods."""

    renamed: ClassVar = {"warmup": "head_warmup"}

    datasets: Entries[Dataset] = Field({})
    """Data sets to fetch, by name."""
    corpora: Entries[Corpus] = Field(min_length=1)
    """Documents to train and evaluate on, by name."""
    models: Entries[Model] = Field(min_length=1)
    """Models with their tokenizers, by name."""
    teachers: Entries[Teacher] = Field({})
    """Models to learn from, by name."""
    students: Entries[Student] = Field(min_length=1)
    """Models that learn, by name."""
    training: RunTraining = RunTraining()
    """How every run is trained unless it says otherwise."""
    head_warmup: HeadWarmup = HeadWarmup()
    """How every byte head is warmed up unless its run says otherwise."""
    runs: Entries[Run] = Field(min_length=1)
    """What is trained and compared, by name."""
    evaluation: Evaluation = Evaluation()
    """How models are evaluated."""
    benchmarks: Entries[Benchmark] = Field({})
    """Tasks of lm-evaluation-harness, by name."""
    audit: Audit = Audit()
    """How teachers' byte distributions are checked."""
    report: Report = Report()
    """The page at the end."""
    archives: Entries[Archive] = Field({})
    """What `snakemake archive` makes, by name."""
    plan: Plan = Plan()
    """What `snakemake plan` assumes of the machines."""


class Settings(Methods, _Settings):
    """The whole configuration; a method's section holds for every run of that method unless it says
    otherwise."""

    def has_bytes_as_tokens(self, student: str) -> bool:
        """Whether a student's tokens are bytes, as far as is known before its tokenizer is made."""
        tokenizer = self.students[student].tokenizer or self.students[student].model
        model = self.models.get(tokenizer)
        scratch = model.scratch if model else None
        return tokenizer == "bytes" or bool(scratch and scratch.tokenizer.kind == "bytes")

    def learns_from(self, run: Run, mode: Literal["cached", "live"]) -> bool:
        """Whether a run learns from a teacher of this mode."""
        return run.taught is not None and self.teachers[str(run.teacher)].mode == mode

    @model_validator(mode="before")
    @classmethod
    def runs_inherit(cls, raw: Any) -> Any:
        """Put the common sections under what each run says itself."""
        raw = cls.with_new_names(raw)
        if not (isinstance(raw, dict) and isinstance(raw.get("runs"), dict)):
            return raw
        return raw | {"runs": {name: _over(raw, run) for name, run in raw["runs"].items()}}


def _over(common: dict[str, Any], run: Any) -> Any:
    """A run over the common sections."""
    run = Run.with_new_names(run)
    if not isinstance(run, dict):
        return run
    merged = {}
    for key in COMMON:
        rename = Run.model_fields[key].annotation.with_new_names  # type: ignore[union-attr]
        section, own = rename(common.get(key)), rename(run.get(key) or {})
        if isinstance(section, dict) and isinstance(own, dict):
            merged[key] = _merged(section, own)
    return run | merged


def _merged(common: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """What a section says with a run's own settings over it, one by one however deep."""
    nested = {
        key: _merged(common[key], value)
        for key, value in own.items()
        if isinstance(value, dict) and isinstance(common.get(key), dict)
    }
    return common | own | nested
