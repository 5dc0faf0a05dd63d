"""What may be wrong with runs, and with what they have in common with the training of models from
scratch; the other half of `checks`.

A problem is a sentence that names the key, what was found and what is expected.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bld.config.phrases import did_you_mean, listed, shown
from bld.config.settings import BldSettings, Method, Model, Run, Settings, Teacher, Training

# They count nothing on what the student writes itself.
CROSS_ENTROPIES = ("token_weight", "byte_weight")


def comparison_problems(settings: Settings) -> Iterator[str]:
    """What the report could not compare after all the training."""
    if "bits_per_byte" not in settings.evaluation.tasks:
        yield (
            "evaluation.tasks: found no `bits_per_byte`, which every comparison is made of; "
            "expected it among the tasks"
        )
    seen: dict[str, str] = {}
    evaluated: dict[str, tuple[str, str]] = {}
    for name, run in settings.runs.items():
        twin = seen.setdefault(repr(run.own()), name)
        if twin != name:
            yield (
                f"runs.{name}: found the same settings and seed as `{twin}`, expected another seed "
                "or setting"
            )
        first, split = evaluated.setdefault(run.corpus, (name, run.validation_split))
        if split != run.validation_split:
            yield (
                f"runs.{name}.validation_split: found {shown(run.validation_split)}, expected "
                f"{shown(split)} as in `{first}`, whose teacher and student it may share"
            )


def run_problems(key: str, run: Run, settings: Settings) -> Iterator[str]:
    """What in a run contradicts itself, or the models, corpora and teachers that it names."""
    yield from known(f"{key}.student", run.student, settings, "students")
    yield from known(f"{key}.corpus", run.corpus, settings, "corpora")
    yield from _split_problems(key, run, settings)
    if run.teacher is not None:
        yield from known(f"{key}.teacher", run.teacher, settings, "teachers")
    elif run.method != "sft":
        yield (
            f"{key}.teacher: missing, expected an entry under `teachers` since the method is "
            f"`{run.method}`"
        )
    student = settings.students.get(run.student)
    model = settings.models.get(student.model) if student else None
    for fields, text in training_problems(run.training, model, student.model if student else ""):
        yield f"{_where(key, run, settings, 'training', fields)}: {text}"
    if run.sampling.on_policy:
        for text in _sampling_problems(run, settings.teachers.get(run.teacher or "")):
            yield (
                f"{key}.sampling.on_policy: found {run.sampling.on_policy:g}, expected 0 since "
                f"{text}"
            )
    if run.teacher in settings.teachers and run.reads_tokens:
        yield from _token_problems(key, run, settings.teachers[run.teacher])
    if run.taught:
        for fields, text in _learning_problems(run.taught, run.sampling.on_policy == 1):
            yield f"{_where(key, run, settings, run.method, fields)}: {text}"
    if isinstance(bld := run.taught, BldSettings):
        for fields, text in _bld_problems(bld):
            yield f"{_where(key, run, settings, 'bld', fields)}: {text}"
        if run.has_warmup and run.head_warmup.patience and not run.training.evaluate_every:
            yield (
                f"{_where(key, run, settings, 'head_warmup', ['patience'])}: found "
                f"{run.head_warmup.patience}, expected null "
                "or a `training.evaluate_every` above 0, since it counts evaluations"
            )
        if student:
            yield from _head_problems(f"{key}.bld.head", bld.head, run.student, settings)


def _token_problems(key: str, run: Run, teacher: Teacher) -> Iterator[str]:
    if teacher.average:
        yield (
            f"{key}.teacher: found `{run.teacher}`, an average of models, which have no tokens in "
            f"common; expected a teacher with `model` since `{run.method}` learns from tokens"
        )
    elif not teacher.top_k_tokens:
        yield (
            f"teachers.{run.teacher}.top_k_tokens: found 0, expected at least 1 since `{key}` "
            "learns from the teacher's tokens (64 is a good number)"
        )


def _sampling_problems(run: Run, teacher: Teacher | None) -> Iterator[str]:
    """Why the student cannot write documents itself."""
    if run.taught is None:
        yield f"`{run.method}` learns nothing from what its student writes"
    elif teacher and teacher.mode != "live":
        yield (
            f"the teacher `{run.teacher}` is {teacher.mode} and reads no new text; give it `mode: "
            "live`"
        )
    if run.training.zero_stage == 3:
        yield (
            "`training.zero_stage` is 3, where no process has the whole student to write with; "
            "stage 2 leaves it whole"
        )


def _where(key: str, run: Run, settings: Settings, section: str, fields: Sequence[str]) -> str:
    """The setting to name, the first of `fields`: in the run where one of them is its own, else in
    the common section."""
    own, common = getattr(run, section), getattr(settings, section)
    differs = any(getattr(own, field) != getattr(common, field) for field in fields)
    return f"{key + '.' if differs else ''}{section}.{fields[0]}"


def _split_problems(key: str, run: Run, settings: Settings) -> Iterator[str]:
    """Splits that do not exist, or on which a model is both trained and evaluated."""
    for field in ("train_split", "validation_split", "development_split"):
        name = getattr(run, field)
        if name is not None:
            yield from known_split(f"{key}.{field}", run.corpus, name, settings)
    for field in ("validation_split", "development_split"):
        for who, split in trained_on(run, settings):
            if split == (run.corpus, getattr(run, field)):
                yield (
                    f"{key}.{field}: found {shown(split[1])}, expected a split that {who} is not "
                    "trained on"
                )
    if run.development_split == run.validation_split:
        yield (
            f"{key}.development_split: found {shown(run.development_split)}, expected another "
            "split than `validation_split`, on which the run is evaluated"
        )
    if run.training.evaluate_every and run.development_split is None:
        yield (
            f"{key}.development_split: missing, expected a split to evaluate on every "
            f"{run.training.evaluate_every} steps (`training.evaluate_every`)"
        )


def _learning_problems(method: Method, writes_all: bool) -> Iterator[tuple[tuple[str, ...], str]]:
    """As `training_problems`; `writes_all`: all that a run learns from is text of its student."""
    unread = CROSS_ENTROPIES if writes_all else ()
    weights = {
        name: value for name, value in method if name.endswith("_weight") and name not in unread
    }
    since = (
        ", since `sampling.on_policy` is 1 and no cross-entropy is taken of what the student writes"
    )
    if weights and not any(weights.values()):
        first, *others = weights
        like, one = (f" like {listed(others)}", "one of them") if others else ("", "a number")
        yield (
            (first, *others),
            f"found 0{like}, expected {one} above 0: nothing would be learned" + since * writes_all,
        )


def _bld_problems(bld: BldSettings) -> Iterator[tuple[tuple[str, ...], str]]:
    """As `training_problems`."""
    if bld.histories != "trunk" and bld.head != "marginal":
        yield (
            ("histories", "head"),
            f"found `{bld.histories}`, expected `trunk` since `head` is `{bld.head}`: only "
            "`marginal` sums histories",
        )


def _head_problems(key: str, head: str, student: str, settings: Settings) -> Iterator[str]:
    known = settings.has_bytes_as_tokens(student)
    if known and head != "output":
        yield f"{key}: found `{head}`, expected `output` since `{student}` is a byte student"
    if not known and head == "output":
        yield (
            f"{key}: found `output`, expected `linear`, `causal` or `marginal` since `{student}` "
            "is not known to be a byte student"
        )


def trained_on(run: Run, settings: Settings) -> Iterator[tuple[str, tuple[str, str]]]:
    """Who is trained on which (corpus, split) before the run is evaluated."""
    yield "the run", (run.corpus, run.train_split)
    student, teacher = settings.students.get(run.student), settings.teachers.get(run.teacher or "")
    for name in [*([student.model] if student else []), *(teacher.models if teacher else [])]:
        model = settings.models.get(name)
        if model and model.scratch:
            yield f"the model `{name}`", (model.scratch.corpus, model.scratch.split)


def training_problems(
    training: Training, model: Model | None, name: str = ""
) -> Iterator[tuple[tuple[str, ...], str]]:
    """The settings that do not fit each other or the model of this name, the one to name first, and
    what is wrong."""
    for text in fits(training.sequence_length, model):
        yield ("sequence_length",), text
    positions = _stated_positions(name, model) if model else None
    if positions and training.sequence_length > positions:
        yield (
            ("sequence_length",),
            f"found {training.sequence_length}, expected at most {positions}, the "
            f"`max_position_embeddings` in config.json of the model `{name}`",
        )
    if training.batch_size % training.micro_batch_size:
        yield (
            ("micro_batch_size", "batch_size"),
            f"found {training.micro_batch_size}, expected a divisor of `batch_size` "
            f"({training.batch_size})",
        )
    if training.warmup_steps >= training.steps:
        yield (
            ("warmup_steps", "steps"),
            f"found {training.warmup_steps}, expected fewer than `steps` ({training.steps})",
        )
    if training.precision == "bf16" and training.zero_stage == 0:
        yield (
            ("zero_stage", "precision"),
            "found 0, expected 1, 2 or 3 since `precision` is bf16 (at stage 0 DeepSpeed takes a "
            "step too many)",
        )
    needed = {"none": 0, "optimizer": 1, "parameters": 3}[training.offload]
    if training.zero_stage < needed:
        yield (
            ("zero_stage", "offload"),
            f"found {training.zero_stage}, expected {'1, 2 or 3' if needed == 1 else needed} since "
            f"`offload` is `{training.offload}`",
        )


def fits(length: int, model: Model | None) -> Iterator[str]:
    """Where a length exceeds what the position embeddings of a model from scratch reach."""
    shape = model.scratch.architecture if model and model.scratch else None
    if shape and length > (positions := shape.positions):
        yield f"found {length}, expected at most the `positions` of its model ({positions})"


def found_here(name: str, model: Model, file: str) -> Path | None:
    """This file of a model, where it is here already."""
    folders = [*([model.path] if model.path else []), f"resources/models/{name}"]
    paths = (Path(folder, file) for folder in folders)
    return next((path for path in paths if path.exists()), None)


def _stated_positions(name: str, model: Model) -> int | None:
    """What the config.json of a model says, where it is here already."""
    path = found_here(name, model, "config.json")
    said: dict[str, Any] = json.loads(path.read_text()) if path else {}
    positions = (said.get("text_config") or said).get("max_position_embeddings")
    return positions if isinstance(positions, int) else None


def known(key: str, name: str, settings: Settings, section: str) -> Iterator[str]:
    """Where no entry of `section` has this name."""
    entries = getattr(settings, section)
    if name not in entries:
        yield (
            f"{key}: found {shown(name)}, expected an entry under "
            f"`{section}`{did_you_mean(name, entries)}"
        )


def known_split(key: str, corpus: str, split: str, settings: Settings) -> Iterator[str]:
    """Where the corpus has no such split; a corpus that is not there is `known`'s to report."""
    if corpus in settings.corpora:
        splits = settings.corpora[corpus].splits
        if split not in splits:
            yield (
                f"{key}: found {shown(split)}, expected a split of the corpus "
                f"`{corpus}`{did_you_mean(split, splits)}"
            )
