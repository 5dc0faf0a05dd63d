"""What each step reads of the settings, a model for every stage: besides its inputs and its code,
this is what it is rerun for.

What a step does not read is left unset, and only what is set counts (see `StepSettings`). `steps`
makes them from the configuration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from bld.config.archive import Archive as ArchiveSettings
from bld.config.registry import Methods
from bld.config.settings import (
    Average,
    BldSettings,
    Corpus,
    HeadWarmup,
    Histories,
    Method,
    Rendering,
    Run,
    RunTraining,
    Sampling,
    Scoring,
    Scratch,
    ScratchTokenizer,
    Section,
    Settings,
    Student,
    Teacher,
)

Precision = Literal["fp32", "bf16"]


class StepSettings(Section):
    """Settings of which those that are set are read."""

    def dump(self) -> dict[str, Any]:
        """What is set, as JSON holds it."""
        return self.model_dump(mode="json", exclude_unset=True)


class TeacherModels(StepSettings):
    """How documents are rendered for a teacher: if it averages several models, for each by name."""

    rendering: Rendering | dict[str, Rendering]
    average: Average | None = None


class Fetch(StepSettings):
    """A model, with or without its weights and its code; or a data set, and which of its
    `files`."""

    hub: str
    revision: str
    weights: bool = False
    trust_remote_code: bool = False
    files: list[str] | None = None


class Link(StepSettings):
    """The folder of a model, with or without its weights, or of a data set, which has none."""

    path: str
    weights: bool | None = None
    trust_remote_code: bool = False


class BuildSplit(StepSettings):
    """A corpus with its splits up to the one that is made, named by their `order`; of those before
    it the fractions alone are read. `python`: its version, where documents are made from it and no
    environment fixes it. Where models judge documents, `judge` names the module for that and
    `renderings` has how each is given them."""

    corpus: Corpus
    order: list[str]
    python: str | None = None
    judge: Literal["judging"] | None = None
    renderings: dict[str, Rendering] = Field({})


class TrainTokenizer(StepSettings):
    """A tokenizer, and how many documents it is trained on."""

    tokenizer: ScratchTokenizer
    documents: int | None


class RenderSplit(StepSettings):
    """How documents are rendered for a student, or for a model from scratch."""

    rendering: Rendering


class Pretrain(StepSettings):
    """A model from scratch."""

    scratch: Scratch
    rendering: Rendering


class Transfer(StepSettings):
    """How the rows of a new vocabulary are made; the seed is read only where noise is drawn."""

    initialisation: Literal["fvt", "mean", "random"]
    pad_to: int
    seed: int = 0


class NewTokenizer(StepSettings):
    """A tokenizer that a student is given: `bytes`, or that of a model."""

    name: str
    transfer: Transfer
    model_rendering: Rendering
    rendering: Rendering


class PrepareStudent(StepSettings):
    """A student as its model is, or with another tokenizer, whose rendering then says what is
    trusted."""

    tokenizer: NewTokenizer | None
    trust_remote_code: bool = False


class ScoreTeacher(TeacherModels):
    """How a teacher's byte distributions are made."""

    scoring: Scoring


class GatherCache(ScoreTeacher):
    """How the shards of a cache were made."""


class Sample(TeacherModels):
    """A sample of the documents that a teacher has scored, and how they are read."""

    documents: int
    seed: int
    window: int
    batch_tokens: int
    precision: Precision


class AuditCache(Sample):
    """The histories of the cache, and those of a stricter policy."""

    own: Histories
    strict: Histories


class MeasureInformation(Sample):
    """Of a teacher of one model."""

    policy: Histories
    rendering: Rendering


class Renderings(StepSettings):
    """How documents are rendered for a student, and for a teacher of one model."""

    student_rendering: Rendering
    teacher_rendering: Rendering


class MapVocabulary(Renderings):
    """The method whose map is made."""

    kind: str


class MeasureAlignment(Renderings):
    """On how many documents tokens are counted, at most."""

    documents: int


class WarmUp(StepSettings):
    """The warm-up has its own length and rate, no teacher and no low-rank updates.
    `development_window`: that of evaluations, where there are some on the way."""

    training: RunTraining
    head_warmup: HeadWarmup
    bld: BldSettings
    seed: int
    rendering: Rendering
    development_window: int | None = None


class Distill(Methods, StepSettings):
    """A run: of the methods' settings those of its own. `teacher`: one that is asked on the way;
    `teacher_rendering`: of one whose tokens are read; `sampling`: where the student writes
    documents itself; `development_window`: that of evaluations, where there are some on the
    way."""

    method: str
    training: RunTraining
    seed: int
    rendering: Rendering
    development_window: int | None = None
    teacher: ScoreTeacher | None = None
    teacher_rendering: Rendering | None = None
    sampling: Sampling | None = None

    @property
    def taught(self) -> Method | None:
        """The settings of the method; none of sft."""
        return getattr(self, self.method, None)


class EvaluateBitsPerByte(StepSettings):
    """How a model reads documents."""

    window: int
    batch_tokens: int
    rendering: Rendering


class EvaluateAverage(TeacherModels):
    """An average has no tokens, and is evaluated by its bytes."""

    window: int
    batch_tokens: int
    policy: Histories


class EvaluateByteDivergence(EvaluateBitsPerByte):
    """The teacher, how many documents, and the kind of the byte head of a run that has trained
    one."""

    teacher: TeacherModels
    documents: int
    policy: Histories
    head: str | None


class WriteText(EvaluateBitsPerByte):
    """What is written."""

    prompts: list[str]
    temperature: float
    completion_bytes: int
    passage_bytes: int
    policy: Histories


class FetchBenchmark(StepSettings):
    """A task, whether it may run what models write, data sets, each at a commit, and packages of
    nltk's data."""

    task: str
    unsafe_code: bool
    data: dict[str, str]
    nltk: list[str]


class BuildBenchmark(StepSettings):
    """Which questions are made of documents."""

    kind: str
    documents: int
    seed: int


class EvaluateBenchmark(StepSettings):
    """How a model is evaluated by a benchmark; what its data is made from is read by those who make
    it."""

    name: str
    task: str | None
    few_shot: int | None
    chat_template: bool | Literal["auto"]
    metric: str | None
    limit: int | None
    batch_size: int
    precision: Precision
    unsafe_code: bool
    max_length: int
    rendering: Rendering


class ReportedRun(StepSettings):
    """A run as it is configured, its files by what they tell, and what is shown of its settings:
    those that are not as they are by themselves."""

    settings: Run
    files: dict[str, Path]
    changed: dict[str, Any]


class ReportedCache(StepSettings):
    """A byte cache that runs learn from, and its files by their measure."""

    teacher: str
    corpus: str
    split: str
    files: dict[str, Path]


class Report(StepSettings):
    """What is told of, under which title and by which figures; no file of it needs to be there.
    `splits`: the manifests of documents, by names of corpora and splits."""

    title: str
    runs: dict[str, ReportedRun]
    caches: list[ReportedCache]
    splits: dict[str, Path]
    figures: list[str]


class Archive(StepSettings):
    """What is said of an archive, and the whole configuration as it was resolved. `splits`: those
    of every corpus in their order, which counts and which a step line does not keep; `snakemake`:
    its version."""

    archive: ArchiveSettings
    configuration: Settings
    splits: dict[str, list[str]]
    snakemake: str


class WriteCard(StepSettings):
    """A run by its name, its student, and the teacher that it learned from. `scratch`: models among
    these that were made here; `trust_remote_code`: whether the student needs it."""

    name: str
    run: Run
    student: Student
    teacher: Teacher | None
    scratch: dict[str, Scratch]
    trust_remote_code: bool


class Plan(StepSettings):
    """The whole configuration as it was written, and what a job gets, by rule and name."""

    configuration: Settings
    limits: dict[str, dict[str, dict[str, float]]]


class Stale(StepSettings):
    """A dry run of Snakemake, and the text of the configuration that it is of."""

    command: list[str]
    configuration: str
