"""Reads the configuration, and says in words what is wrong with it before any job starts.

Types, ranges and unknown keys come from the models in `config`; here are the rules that span several settings. All problems are
reported at once: each names the key, what was found and what is expected.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bld.config import (
    Audit,
    Bld,
    Columns,
    Corpus,
    Dataset,
    Files,
    FromDataset,
    Model,
    Plan,
    Run,
    Scratch,
    Settings,
    Shape,
    Student,
    Teacher,
    Training,
)
from bld.config_words import did_you_mean, either, listed, problem_in_words, shown
from bld.planning.gpus import PEAKS

COMMON_SECTIONS = ("training", "warmup", "bld")
WARMED_UP = ("linear", "causal")


class ConfigError(ValueError):
    """What is wrong with the configuration, one problem a line."""


def read_settings(raw: Mapping[str, Any]) -> Settings:
    """The validated settings; raises ConfigError that lists every problem found."""
    try:
        settings = Settings.model_validate(dict(raw))
    except ValidationError as error:
        details = [x for x in error.errors() if not _is_inherited(x["loc"], raw)]
        raise _listing(map(problem_in_words, details)) from None
    problems = list(_problems(settings, raw))
    if problems:
        raise _listing(problems)
    return settings


def _listing(problems: Iterable[str]) -> ConfigError:
    lines = list(dict.fromkeys(problems))
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    return ConfigError(f"{count} in the configuration:\n" + "\n".join(f"  * {x}" for x in lines))


def _is_inherited(location: tuple[int | str, ...], raw: Mapping[str, Any]) -> bool:
    """Whether a run only has this setting from the common section, where the problem is reported already."""
    match location:
        case ("runs", run, section, key, *_) if section in COMMON_SECTIONS:
            return section in raw and key not in (raw["runs"][run].get(section) or {})
    return False


def _problems(settings: Settings, raw: Mapping[str, Any]) -> Iterator[str]:
    for name, dataset in settings.datasets.items():
        yield from _dataset_problems(f"datasets.{name}", dataset)
    for name, corpus in settings.corpora.items():
        yield from _corpus_problems(f"corpora.{name}", corpus, settings)
    for name, model in settings.models.items():
        yield from _model_problems(f"models.{name}", model, settings)
    for name, teacher in settings.teachers.items():
        yield from _weights_problems(f"teachers.{name}.model", teacher.model, settings)
        for text in _fits(teacher.window, settings.models.get(teacher.model)):
            yield f"teachers.{name}.window: {text}"
        yield from _audit_problems(name, teacher, settings.audit)
    for name, student in settings.students.items():
        yield from _weights_problems(f"students.{name}.model", student.model, settings)
        yield from _student_problems(f"students.{name}", student, settings)
    for name, run in settings.runs.items():
        yield from _run_problems(f"runs.{name}", run, settings, raw["runs"][name])
    yield from _comparison_problems(settings)
    yield from _plan_problems(settings.plan)


def _audit_problems(name: str, teacher: Teacher, audit: Audit) -> Iterator[str]:
    """Where the audit would not be stricter than what it audits."""
    if audit.histories != teacher.histories:
        return
    if audit.eps > teacher.eps:
        yield f"audit.eps: found {audit.eps:g}, expected at most the `eps` of the teacher `{name}` ({teacher.eps:g})"
    if audit.histories == "beam" and audit.beam_width < teacher.beam_width:
        yield (
            f"audit.beam_width: found {audit.beam_width}, expected at least the `beam_width` of the "
            f"teacher `{name}` ({teacher.beam_width})"
        )


def _comparison_problems(settings: Settings) -> Iterator[str]:
    """What the report could not compare after all the training."""
    if "bits_per_byte" not in settings.evaluation.tasks:
        yield (
            "evaluation.tasks: found no `bits_per_byte`, which every comparison is made of; "
            "expected it among the tasks"
        )
    seen: dict[str, str] = {}
    judged: dict[tuple[str, str], tuple[str, str]] = {}
    for name, run in settings.runs.items():
        twin = seen.setdefault(run.model_dump_json(), name)
        if twin != name:
            yield (
                f"runs.{name}: found the same settings and seed as `{twin}`, expected another seed "
                "or setting"
            )
        pair = run.student, run.corpus
        first, split = judged.setdefault(pair, (name, run.validation_split))
        if split != run.validation_split:
            yield (
                f"runs.{name}.validation_split: found {shown(run.validation_split)}, expected "
                f"{shown(split)} as in `{first}`, with which it is compared"
            )


def _plan_problems(plan: Plan) -> Iterator[str]:
    if plan.gpu not in PEAKS and not (plan.tflops and plan.memory_gib):
        yield (
            f"plan.gpu: found {shown(plan.gpu)}, expected {either(f'`{name}`' for name in PEAKS)}, or `plan.tflops` and "
            f"`plan.memory_gib` of another{did_you_mean(plan.gpu, PEAKS)}"
        )


def _dataset_problems(key: str, dataset: Dataset) -> Iterator[str]:
    yield from _source_problems(key, dataset, ("hub", "path"))
    if dataset.path is not None and not Path(dataset.path).is_dir():
        yield f"{key}.path: found {shown(dataset.path)}, expected a folder that exists"


def _corpus_problems(key: str, corpus: Corpus, settings: Settings) -> Iterator[str]:
    total = sum(split.share for split in corpus.splits.values())
    if total > 1 + 1e-9:
        yield f"{key}.splits: found shares that add up to {total:g}, expected at most 1"
    for name, split in corpus.splits.items():
        if split.documents is not None and split.shards > split.documents:
            yield (
                f"{key}.splits.{name}.shards: found {split.shards}, expected at most one for each of "
                f"the split's {split.documents} documents"
            )
    source = corpus.source
    if isinstance(source, FromDataset):
        yield from _known(f"{key}.source.dataset", source.dataset, settings, "datasets")
        yield from _column_problems(f"{key}.source.columns", source.columns)
    if isinstance(source, Files):
        for path in source.paths:
            if not (Path(path).exists() or glob.glob(path, recursive=True)):
                yield f"{key}.source.paths: found {shown(path)}, expected files that exist"
        if source.format != "text":
            yield from _column_problems(f"{key}.source.columns", source.columns)


def _column_problems(key: str, columns: Columns) -> Iterator[str]:
    given = columns.model_dump(exclude={"id"}, exclude_none=True)
    if list(given) not in (["text"], ["messages"], ["prompt", "response"]):
        yield f"{key}: found {listed(given) or 'none'}, expected `text`, `messages` or `prompt` with `response`"


def _model_problems(key: str, model: Model, settings: Settings) -> Iterator[str]:
    yield from _source_problems(key, model, ("hub", "path", "scratch"))
    for name, value in model.template_arguments.items():
        try:
            json.dumps(value)
        except TypeError:
            yield f"{key}.template_arguments.{name}: found a {type(value).__name__}, expected text; put it in quotes"
    if model.path is not None:
        patterns = ["config.json", "tokenizer.json"] + ["*.safetensors"] * model.weights
        if missing := [x for x in patterns if not any(Path(model.path).glob(x))]:
            lacking = (
                f"without {listed(missing)}" if Path(model.path).is_dir() else "which is no folder"
            )
            yield f"{key}.path: found {shown(model.path)}, {lacking}, expected a folder with {listed(patterns)}"
    if model.scratch is not None:
        yield from _scratch_problems(f"{key}.scratch", model.scratch, model, settings)
    if model.shape is not None:
        yield from _shape_problems(f"{key}.shape", model.shape, model.weights)


def _shape_problems(key: str, shape: Shape, weights: bool) -> Iterator[str]:
    missing = [x for x in ("hidden", "layers", "heads", "intermediate") if not getattr(shape, x)]
    if weights and missing:
        yield f"{key}: found no {listed(missing)}, expected them of a model that is not `weights: false`"
    elif shape.hidden and shape.heads and shape.hidden % shape.heads and not shape.head_width:
        yield f"{key}.head_width: missing, expected it since `hidden` is no multiple of `heads`"


def _scratch_problems(
    key: str, scratch: Scratch, model: Model, settings: Settings
) -> Iterator[str]:
    yield from _known(f"{key}.corpus", scratch.corpus, settings, "corpora")
    yield from _known_split(f"{key}.split", scratch.corpus, scratch.split, settings)
    for name in ("architecture", "training"):
        if model.weights and getattr(scratch, name) is None:
            yield f"{key}.{name}: missing, expected it of a model that is not `weights: false`"
    shape = scratch.architecture
    if shape and shape.hidden % shape.heads:
        yield (
            f"{key}.architecture.hidden: found {shape.hidden}, expected a multiple of `heads` "
            f"({shape.heads})"
        )
    if scratch.training:
        for (field, *_), text in _training_problems(scratch.training, model):
            yield f"{key}.training.{field}: {text}"


def _student_problems(key: str, student: Student, settings: Settings) -> Iterator[str]:
    if student.tokenizer not in (None, "bytes"):
        yield from _known(f"{key}.tokenizer", student.tokenizer, settings, "models")
    if student.tokenizer is None:
        for field in ("initialisation", "pad_vocabulary_to"):
            default, found = Student.model_fields[field].default, getattr(student, field)
            if found != default:
                yield (
                    f"{key}.{field}: found {shown(found)}, expected {shown(default)} since the student keeps its "
                    "tokenizer and so its embeddings; give it another under `tokenizer`"
                )


def _run_problems(key: str, run: Run, settings: Settings, raw: Mapping[str, Any]) -> Iterator[str]:
    yield from _known(f"{key}.student", run.student, settings, "students")
    yield from _known(f"{key}.corpus", run.corpus, settings, "corpora")
    yield from _split_problems(key, run, settings)
    if run.teacher is not None:
        yield from _known(f"{key}.teacher", run.teacher, settings, "teachers")
    elif run.method != "sft":
        yield f"{key}.teacher: missing, expected an entry under `teachers` since the method is `{run.method}`"
    student = settings.students.get(run.student)
    model = settings.models.get(student.model) if student else None
    for fields, text in _training_problems(run.training, model):
        yield f"{_where(key, raw, 'training', fields)}: {text}"
    if run.method == "bld":
        for fields, text in _bld_problems(run.bld):
            yield f"{_where(key, raw, 'bld', fields)}: {text}"
        if run.bld.head in WARMED_UP and run.warmup.patience and not run.training.evaluate_every:
            yield (
                f"{_where(key, raw, 'warmup', ['patience'])}: found {run.warmup.patience}, expected null "
                "or a `training.evaluate_every` above 0, since it counts evaluations"
            )
        if student:
            yield from _head_problems(f"{key}.bld.head", run, student, settings)


def _where(key: str, raw: Mapping[str, Any], section: str, fields: Sequence[str]) -> str:
    """The setting to name, the first of `fields`: in the run where it says one of them itself, else in the common section."""
    own = any(field in (raw.get(section) or {}) for field in fields)
    return f"{key + '.' if own else ''}{section}.{fields[0]}"


def _split_problems(key: str, run: Run, settings: Settings) -> Iterator[str]:
    """Splits that do not exist, or on which a model is both trained and looked at."""
    for field in ("train_split", "validation_split", "development_split"):
        name = getattr(run, field)
        if name is not None:
            yield from _known_split(f"{key}.{field}", run.corpus, name, settings)
    for field in ("validation_split", "development_split"):
        for who, trained_on in _trained_on(run, settings):
            if trained_on == (run.corpus, getattr(run, field)):
                yield f"{key}.{field}: found {shown(trained_on[1])}, expected a split that {who} is not trained on"
    if run.development_split == run.validation_split:
        yield (
            f"{key}.development_split: found {shown(run.development_split)}, expected another split than "
            "`validation_split`, on which the run is judged"
        )
    if run.training.evaluate_every and run.development_split is None:
        yield (
            f"{key}.development_split: missing, expected a split to evaluate on every "
            f"{run.training.evaluate_every} steps (`training.evaluate_every`)"
        )


def _bld_problems(bld: Bld) -> Iterator[tuple[tuple[str, ...], str]]:
    """As `_training_problems`."""
    if bld.histories != "trunk" and bld.head != "marginal":
        yield (
            ("histories", "head"),
            f"found `{bld.histories}`, expected `trunk` since `head` is `{bld.head}`: only `marginal` sums histories",
        )
    if not (bld.token_weight or bld.byte_weight or bld.kl_weight):
        yield (
            ("token_weight", "byte_weight", "kl_weight"),
            "found 0 like `byte_weight` and `kl_weight`, expected one of the three above 0: nothing would be learned",
        )


def _head_problems(key: str, run: Run, student: Student, settings: Settings) -> Iterator[str]:
    known = _has_bytes_as_tokens(student, settings)
    if known and run.bld.head != "output":
        yield f"{key}: found `{run.bld.head}`, expected `output` since `{run.student}` is a byte student"
    if not known and run.bld.head == "output":
        yield (
            f"{key}: found `output`, expected `linear`, `causal` or `marginal` since `{run.student}` is not known to be "
            "a byte student"
        )


def _trained_on(run: Run, settings: Settings) -> Iterator[tuple[str, tuple[str, str]]]:
    """Who is trained on which (corpus, split) before the run is judged."""
    yield "the run", (run.corpus, run.train_split)
    users = (settings.students.get(run.student), settings.teachers.get(run.teacher or ""))
    for name in (user.model for user in users if user):
        model = settings.models.get(name)
        if model and model.scratch:
            yield f"the model `{name}`", (model.scratch.corpus, model.scratch.split)


def _has_bytes_as_tokens(student: Student, settings: Settings) -> bool:
    if student.tokenizer == "bytes":
        return True
    model = settings.models.get(student.tokenizer or student.model)
    return bool(model and model.scratch and model.scratch.tokenizer.kind == "bytes")


def _training_problems(
    training: Training, model: Model | None
) -> Iterator[tuple[tuple[str, ...], str]]:
    """The settings that do not fit each other, the one to name first, and what is wrong."""
    for text in _fits(training.sequence_length, model):
        yield ("sequence_length",), text
    if training.batch_size % training.micro_batch_size:
        yield (
            ("micro_batch_size", "batch_size"),
            f"found {training.micro_batch_size}, expected a divisor of `batch_size` ({training.batch_size})",
        )
    if training.warmup_steps >= training.steps:
        yield (
            ("warmup_steps", "steps"),
            f"found {training.warmup_steps}, expected fewer than `steps` ({training.steps})",
        )
    if training.precision == "bf16" and training.zero_stage == 0:
        yield (
            ("zero_stage", "precision"),
            "found 0, expected 1, 2 or 3 since `precision` is bf16 (at stage 0 DeepSpeed takes a step too many)",
        )
    needed = {"none": 0, "optimizer": 1, "parameters": 3}[training.offload]
    if training.zero_stage < needed:
        yield (
            ("zero_stage", "offload"),
            f"found {training.zero_stage}, expected {'1, 2 or 3' if needed == 1 else needed} since `offload` is "
            f"`{training.offload}`",
        )


def _fits(length: int, model: Model | None) -> Iterator[str]:
    shape = model.scratch.architecture if model and model.scratch else None
    if shape and length > (positions := shape.positions):
        yield f"found {length}, expected at most the `positions` of its model ({positions})"


def _source_problems(key: str, section: Dataset | Model, sources: tuple[str, ...]) -> Iterator[str]:
    given = [name for name in sources if getattr(section, name) is not None]
    if len(given) != 1:
        yield f"{key}: found {listed(given) or 'no source'}, expected exactly one of {listed(sources)}"
    elif given == ["hub"] and section.revision is None:
        yield f"{key}.revision: missing, expected the commit of `hub` to fetch, 40 hexadecimal digits"
    elif given != ["hub"] and section.revision is not None:
        yield f"{key}.revision: found {shown(section.revision)}, expected none since there is no `hub`"


def _weights_problems(key: str, name: str, settings: Settings) -> Iterator[str]:
    yield from _known(key, name, settings, "models")
    if name in settings.models and not settings.models[name].weights:
        yield f"{key}: found `{name}`, which has `weights: false`, expected a model with weights"


def _known(key: str, name: str, settings: Settings, section: str) -> Iterator[str]:
    entries = getattr(settings, section)
    if name not in entries:
        yield f"{key}: found {shown(name)}, expected an entry under `{section}`{did_you_mean(name, entries)}"


def _known_split(key: str, corpus: str, split: str, settings: Settings) -> Iterator[str]:
    if corpus in settings.corpora:
        splits = settings.corpora[corpus].splits
        if split not in splits:
            yield f"{key}: found {shown(split)}, expected a split of the corpus `{corpus}`{did_you_mean(split, splits)}"
