"""The step of every job: what its stage reads, taken from the configuration, as one line with the
digest of its code."""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from bld.config.settings import BldSettings, Histories, Rendering, Run, RunTraining, Section
from bld.pipeline import step_settings as reads
from bld.pipeline.step import files_line, step_line
from bld.pipeline.step_settings import StepSettings
from bld.pipeline.targets import Targets, Wildcards

S = TypeVar("S", bound=Section)

# How many documents aligned tokens are counted on, at most: enough for fractions of tokens.
ALIGNED_DOCUMENTS = 200
# The settings of histories that are not read: a beam alone has a width, and the trunk drops
# nothing.
UNREAD = {"trunk": {"eps", "beam_width"}, "prefix": {"beam_width"}, "beam": set[str]()}


def step_of(
    settings_of: Callable[[Any, Wildcards], StepSettings],
) -> Callable[[Any, Wildcards], str]:
    """The step line of the stage that a method is called like."""

    @wraps(settings_of)
    def line(self: Any, wildcards: Wildcards) -> str:
        return step(settings_of.__name__, settings_of(self, wildcards))

    return line


def read(section: S, unread: set[str] | None = None) -> S:
    """A section with everything set but what is not read: what counts does not depend on which
    defaults were written."""
    return type(section).model_validate(section.model_dump(exclude=unread))


def step(stage: str, settings: StepSettings) -> str:
    """The step line of a stage, see `step_line`."""
    return step_line(f"bld.stages.{stage}", settings.dump())


def files(wildcards: Wildcards, input: Any, output: Any) -> str:
    """The named inputs and outputs of a job; those without a name are mere dependencies."""
    return files_line(dict(input.items()), dict(output.items()))


class Steps:
    """A step line for every stage before the report, by the wildcards of a job. `has_environments`:
    each rule runs in one of its own."""

    def __init__(self, targets: Targets, has_environments: bool) -> None:
        self.targets, self.settings = targets, targets.settings
        self.has_environments = has_environments

    # What comes from outside.

    @step_of
    def fetch(self, wildcards: Wildcards) -> StepSettings:
        if dataset := wildcards.get("dataset"):
            settings = self.settings.datasets[dataset].model_dump(
                include={"hub", "revision", "files"}
            )
            return reads.Fetch(**settings)
        names = {"hub", "revision", "weights", "trust_remote_code"}
        return reads.Fetch(**self.settings.models[wildcards.model].model_dump(include=names))

    @step_of
    def link(self, wildcards: Wildcards) -> StepSettings:
        if dataset := wildcards.get("dataset"):
            return reads.Link(path=str(self.settings.datasets[dataset].path))
        names = {"path", "weights", "trust_remote_code"}
        return reads.Link(**self.settings.models[wildcards.model].model_dump(include=names))

    @step_of
    def fetch_benchmark(self, wildcards: Wildcards) -> StepSettings:
        benchmark = self.settings.benchmarks[wildcards.benchmark]
        named = benchmark.model_dump(include={"task", "unsafe_code", "data", "nltk"})
        return reads.FetchBenchmark(**named)

    @step_of
    def build_split(self, wildcards: Wildcards) -> StepSettings:
        corpus = self.settings.corpora[wildcards.corpus]
        own = corpus.splits[wildcards.split].model_dump()
        names = list(corpus.splits)
        before = names[: names.index(wildcards.split)]
        splits = {
            **{name: corpus.splits[name].model_dump(include={"fraction"}) for name in before},
            wildcards.split: own,
        }
        names_read = {"source", "seed", "turn_by_turn", "on_bad_row"}
        names_read |= {"at_most"} if corpus.on_bad_row == "skip" else set()
        settings = corpus.model_dump(include=names_read) | {"splits": splits}
        is_python = corpus.source.reads_python and not self.has_environments
        python = {"python": platform.python_version()} if is_python else {}
        judging: dict[str, Any] = {}
        if corpus.judged_by:
            renderings = {name: self.rendering(name) for name in sorted(corpus.judged_by)}
            judging = {"judge": "judging", "renderings": renderings}
        return reads.BuildSplit(
            corpus=type(corpus).model_validate(settings),
            order=[*before, wildcards.split],
            **python,
            **judging,
        )

    # Models, students and teachers.

    @step_of
    def train_tokenizer(self, wildcards: Wildcards) -> StepSettings:
        scratch = self.targets.scratch(wildcards.model)
        return reads.TrainTokenizer(tokenizer=read(scratch.tokenizer), documents=scratch.documents)

    @step_of
    def pretrain(self, wildcards: Wildcards) -> StepSettings:
        scratch = read(self.targets.scratch(wildcards.model))
        return reads.Pretrain(scratch=scratch, rendering=self.rendering(wildcards.model))

    @step_of
    def prepare_student(self, wildcards: Wildcards) -> StepSettings:
        student = self.settings.students[wildcards.student]
        if student.tokenizer is None:
            is_trusted = self.settings.models[student.model].trust_remote_code
            trusted = {"trust_remote_code": True} if is_trusted else {}
            return reads.PrepareStudent(tokenizer=None, **trusted)
        is_noise = student.initialisation == "random"
        transfer = reads.Transfer(
            initialisation=student.initialisation,
            pad_to=student.pad_vocabulary_to,
            **({"seed": student.seed} if is_noise else {}),
        )
        tokenizer = reads.NewTokenizer(
            name=student.tokenizer,
            transfer=transfer,
            model_rendering=self.rendering(student.model),
            rendering=self.student_rendering(wildcards.student),
        )
        return reads.PrepareStudent(tokenizer=tokenizer)

    @step_of
    def render_split(self, wildcards: Wildcards) -> StepSettings:
        own = self.rendering if wildcards.reader == "tokenizers" else self.student_rendering
        return reads.RenderSplit(rendering=own(wildcards.name))

    @step_of
    def score_teacher(self, wildcards: Wildcards) -> StepSettings:
        return reads.ScoreTeacher(**self._scoring(wildcards.teacher))

    @step_of
    def gather_cache(self, wildcards: Wildcards) -> StepSettings:
        return reads.GatherCache(**self._scoring(wildcards.teacher))

    @step_of
    def audit_cache(self, wildcards: Wildcards) -> StepSettings:
        own = policy(self.settings.teachers[wildcards.teacher])
        strict = policy(self.settings.audit)
        return reads.AuditCache(own=own, strict=strict, **self._sample(wildcards.teacher))

    @step_of
    def measure_information(self, wildcards: Wildcards) -> StepSettings:
        own = policy(self.settings.teachers[wildcards.teacher])
        return reads.MeasureInformation(policy=own, **self._sample(wildcards.teacher))

    @step_of
    def map_vocabulary(self, wildcards: Wildcards) -> StepSettings:
        return reads.MapVocabulary(kind=wildcards.kind, **self._both_renderings(wildcards))

    @step_of
    def measure_alignment(self, wildcards: Wildcards) -> StepSettings:
        both = self._both_renderings(wildcards)
        return reads.MeasureAlignment(documents=ALIGNED_DOCUMENTS, **both)

    # Runs.

    @step_of
    def warm_up(self, wildcards: Wildcards) -> StepSettings:
        run = self.settings.runs[wildcards.run]
        assert isinstance(run.taught, BldSettings), "no other method has a head to be warmed up"
        of_head = {"head", "byte_weight", "reduction", "mask_end", "mask_whitespace"}
        return reads.WarmUp(
            training=training(run, {"steps", "learning_rate", "lora"}),
            head_warmup=read(run.head_warmup),
            bld=read(run.taught, set(BldSettings.model_fields) - of_head),
            seed=run.seed,
            rendering=self.student_rendering(run.student),
            **self._development(run),
        )

    @step_of
    def distill(self, wildcards: Wildcards) -> StepSettings:
        run = self.settings.runs[wildcards.run]
        optional: dict[str, Any] = self._development(run)
        if run.taught:
            optional[run.method] = read(run.taught)
        if run.reads_tokens:
            optional["teacher_rendering"] = self.teacher_models(run.teacher)["rendering"]
        if run.sampling.on_policy:
            optional["sampling"] = read(run.sampling)
        if self.settings.learns_from(run, "live"):
            optional["teacher"] = reads.ScoreTeacher(**self._scoring(run.teacher))
        return reads.Distill(
            method=run.method,
            training=training(run),
            seed=run.seed,
            rendering=self.student_rendering(run.student),
            **optional,
        )

    # Evaluation.

    @step_of
    def evaluate_bits_per_byte(self, wildcards: Wildcards) -> StepSettings:
        return reads.EvaluateBitsPerByte(**self._evaluation(wildcards))

    @step_of
    def evaluate_average(self, wildcards: Wildcards) -> StepSettings:
        return reads.EvaluateAverage(
            policy=policy(self.settings.evaluation),
            **self.settings.evaluation.model_dump(include={"window", "batch_tokens"}),
            **self.teacher_models(wildcards.teacher),
        )

    @step_of
    def evaluate_byte_divergence(self, wildcards: Wildcards) -> StepSettings:
        model = self.targets.evaluated(wildcards)
        has_head = self.targets.evaluated_head(wildcards)
        method = self.settings.runs[model.name].taught if has_head else None
        return reads.EvaluateByteDivergence(
            teacher=reads.TeacherModels(**self.teacher_models(model.teacher)),
            documents=self.settings.evaluation.divergence_documents,
            policy=policy(self.settings.evaluation),
            head=method.warmed_up_head if method else None,
            **self._evaluation(wildcards),
        )

    @step_of
    def write_text(self, wildcards: Wildcards) -> StepSettings:
        texts = {"prompts", "temperature", "completion_bytes", "passage_bytes"}
        return reads.WriteText(
            policy=policy(self.settings.evaluation),
            **self.settings.evaluation.model_dump(include=texts),
            **self._evaluation(wildcards),
        )

    @step_of
    def build_benchmark(self, wildcards: Wildcards) -> StepSettings:
        local = self.targets.local_benchmark(wildcards.benchmark)
        return reads.BuildBenchmark(**local.model_dump(include={"kind", "documents", "seed"}))

    @step_of
    def evaluate_benchmark(self, wildcards: Wildcards) -> StepSettings:
        benchmark = self.settings.benchmarks[wildcards.benchmark]
        return reads.EvaluateBenchmark(
            name=wildcards.benchmark,
            max_length=self.settings.evaluation.window,
            rendering=self._evaluated_rendering(wildcards),
            **benchmark.model_dump(exclude={"local", "data", "nltk"}),
        )

    # How documents are rendered, and parts that several steps read.

    def rendering(self, model: str) -> Rendering:
        """For a model."""
        return self.settings.models[model].rendering

    def student_rendering(self, name: str) -> Rendering:
        """For a student: as for the model whose tokenizer it has."""
        student = self.settings.students[name]
        own = student.tokenizer if student.tokenizer in self.settings.models else None
        is_trusted = self.settings.models[student.model].trust_remote_code
        rendering = self.rendering(own or student.model)
        return rendering.model_copy(update={"trust_remote_code": is_trusted})

    def teacher_models(self, name: str | None) -> dict[str, Any]:
        """For a teacher; for each of its models, where it averages several."""
        teacher = self.settings.teachers[str(name)]
        if teacher.average is None:
            return {"rendering": self.rendering(str(teacher.model))}
        renderings = {model: self.rendering(model) for model in teacher.models}
        return {"rendering": renderings, "average": read(teacher.average)}

    def _evaluated_rendering(self, wildcards: Wildcards) -> Rendering:
        if student := self.targets.evaluated_student(wildcards):
            return self.student_rendering(student)
        teacher = self.targets.evaluated(wildcards).name
        return self.rendering(str(self.settings.teachers[teacher].model))

    def _evaluation(self, wildcards: Wildcards) -> dict[str, Any]:
        limits = self.settings.evaluation.model_dump(include={"window", "batch_tokens"})
        return limits | {"rendering": self._evaluated_rendering(wildcards)}

    def _development(self, run: Run) -> dict[str, int]:
        window = self.settings.evaluation.window
        return {"development_window": window} if run.has_development else {}

    def _both_renderings(self, wildcards: Wildcards) -> dict[str, Rendering]:
        teacher = self.teacher_models(wildcards.teacher)["rendering"]
        student = self.student_rendering(wildcards.student)
        return {"student_rendering": student, "teacher_rendering": teacher}

    def _scoring(self, name: str | None) -> dict[str, Any]:
        teacher = self.settings.teachers[str(name)]
        unread = {"model", "average", "mode"} | UNREAD[teacher.histories]
        scoring = teacher.model_dump(exclude=unread)
        return {"scoring": scoring, **self.teacher_models(name)}

    def _sample(self, name: str) -> dict[str, Any]:
        teacher = self.settings.teachers[name]
        return {
            **self.settings.audit.model_dump(include={"documents", "seed"}),
            **teacher.model_dump(include={"window", "batch_tokens", "precision"}),
            **self.teacher_models(name),
        }


def policy(section: Histories) -> Histories:
    """The histories that a section asks for."""
    names = set(Histories.model_fields) - UNREAD[section.histories]
    return Histories.model_validate(section.model_dump(include=names))


def training(run: Run, unread: set[str] | None = None) -> RunTraining:
    """How a run is trained; without development evaluations nothing is read about them."""
    of_development = set() if run.has_development else {"evaluate_every", "evaluate_documents"}
    return read(run.training, {*(unread or ()), *of_development})
