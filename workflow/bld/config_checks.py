"""Reads the configuration, and says in words what is wrong with it before any job starts.

Types, ranges and unknown keys come from the models in `config`; here are the rules that span several settings. All problems are
reported at once: each names the key, what was found and what is allowed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bld.config import Files, FromDataset, Model, PythonDocs, Run, Section, Settings, Training


class ConfigError(ValueError):
    """What is wrong with the configuration, one problem a line."""


def read_settings(raw: Mapping[str, Any]) -> Settings:
    """The validated settings; raises ConfigError that lists every problem found."""
    try:
        settings = Settings.model_validate(dict(raw))
    except ValidationError as error:
        raise _listing(_sentence(details, raw) for details in error.errors()) from None
    problems = list(_problems(settings))
    if problems:
        raise _listing(problems)
    return settings


def _listing(problems: Iterable[str]) -> ConfigError:
    lines = list(dict.fromkeys(problems))
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    return ConfigError(f"{count} in the configuration:\n" + "\n".join(f"  * {x}" for x in lines))


def _sentence(details: ErrorDetails, raw: Any) -> str:
    location = [part for part in details["loc"] if part != "[key]"]
    kinds = {"python_docs", "files", "dataset"}
    names = [
        part
        for n, part in enumerate(location)
        if not (part in kinds and location[n - 1] == "source")
    ]
    key = ".".join(str(part) for part in names)
    found = details["input"]
    if details["type"] == "extra_forbidden":
        allowed = sorted(_allowed_keys(names[:-1], raw))
        return f"{key}: there is no such setting{_did_you_mean(str(names[-1]), allowed)}"
    if details["type"] == "missing":
        return f"{key}: this setting is required"
    if details["type"] == "literal_error":
        allowed = [
            x.strip("'") for x in details["ctx"]["expected"].replace(" or ", ", ").split(", ")
        ]
        return f"{key}: found {found!r}, allowed are {', '.join(allowed)}{_hint(found, allowed)}"
    if details["type"] == "union_tag_invalid":
        allowed = [x.strip("' ") for x in details["ctx"]["expected_tags"].split(",")]
        tag = details["ctx"]["tag"]
        return f"{key}.kind: found {tag!r}, allowed are {', '.join(allowed)}{_hint(tag, allowed)}"
    if details["type"] == "string_pattern_mismatch":
        return f"{key}: found {found!r}, allowed is {_PATTERNS.get(details['ctx']['pattern'], details['ctx']['pattern'])}"
    message = details["msg"][0].lower() + details["msg"][1:]
    return f"{key}: found {found!r}; {message.replace('input should', 'it should')}"


_PATTERNS = {
    r"^[0-9a-f]{40}$": "a commit of 40 hexadecimal digits (a branch or tag may move; pin the commit)",
    r"^[A-Za-z0-9][A-Za-z0-9_.-]*$": "a name of letters, digits, '_', '.' and '-', since it becomes a file name",
}


def _allowed_keys(path: list[Any], raw: Any) -> set[str]:
    """The keys of the section at `path`, walking the models beside the raw settings."""
    section: type[Section] = Settings
    for part in path:
        field = section.model_fields.get(str(part))
        if field is None:
            continue
        section = next(_sections_in(field.annotation, raw, path), section)
    return set(section.model_fields)


def _sections_in(annotation: Any, raw: Any, path: list[Any]) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        found = raw
        for part in path:
            found = found.get(part, {}) if isinstance(found, Mapping) else {}
        kind = {"python_docs": PythonDocs, "files": Files, "dataset": FromDataset}
        by_kind = kind.get(found.get("kind")) if isinstance(found, Mapping) else None
        yield by_kind if annotation in kind.values() and by_kind else annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _sections_in(argument, raw, path)


def _did_you_mean(word: str, allowed: Iterable[str]) -> str:
    allowed = list(allowed)
    close = difflib.get_close_matches(word, allowed, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; there are {', '.join(allowed)}"


def _hint(word: Any, allowed: list[str]) -> str:
    close = difflib.get_close_matches(str(word), allowed, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _problems(settings: Settings) -> Iterator[str]:
    for name, dataset in settings.datasets.items():
        yield from _one_source(f"datasets.{name}", dataset, ("hub", "path"))
    for name, corpus in settings.corpora.items():
        yield from _corpus_problems(f"corpora.{name}", corpus, settings)
    for name, model in settings.models.items():
        yield from _model_problems(f"models.{name}", model, settings)
    for name, teacher in settings.teachers.items():
        yield from _known(f"teachers.{name}.model", teacher.model, settings.models)
        yield from _fits(
            f"teachers.{name}.window", teacher.window, settings.models.get(teacher.model)
        )
    for name, student in settings.students.items():
        yield from _known(f"students.{name}.model", student.model, settings.models)
        if student.tokenizer not in (None, "bytes"):
            yield from _known(f"students.{name}.tokenizer", student.tokenizer, settings.models)
    for name, run in settings.runs.items():
        yield from _run_problems(f"runs.{name}", run, settings)


def _corpus_problems(key: str, corpus: Any, settings: Settings) -> Iterator[str]:
    total = sum(split.share for split in corpus.splits.values())
    if total > 1 + 1e-9:
        yield f"{key}.splits: the shares add up to {total:g}, allowed is at most 1"
    for name, split in corpus.splits.items():
        if split.documents is not None and split.shards > split.documents:
            yield (
                f"{key}.splits.{name}.shards: found {split.shards} shards for {split.documents} "
                "documents, allowed is at most one shard for each document"
            )
    source = corpus.source
    if isinstance(source, FromDataset):
        yield from _known(f"{key}.source.dataset", source.dataset, settings.datasets)
    if isinstance(source, Files):
        for path in source.paths:
            folder, pattern = Path(path).parent, Path(path).name
            if not (Path(path).exists() or any(folder.glob(pattern))):
                yield f"{key}.source.paths: {path!r} matches no file"
    if not isinstance(source, PythonDocs) and getattr(source, "format", "") != "text":
        yield from _column_problems(f"{key}.source.columns", source.columns)


def _column_problems(key: str, columns: Any) -> Iterator[str]:
    given = [name for name in ("text", "messages", "prompt") if getattr(columns, name) is not None]
    if (columns.prompt is None) != (columns.response is None):
        yield f"{key}: `prompt` and `response` go together, only one of them is given"
    elif len(given) != 1:
        yield f"{key}: found {' and '.join(given) or 'none'}, allowed is exactly one of text, messages, prompt with response"


def _model_problems(key: str, model: Model, settings: Settings) -> Iterator[str]:
    yield from _one_source(key, model, ("hub", "path", "scratch"))
    if model.path is not None and not (Path(model.path) / "tokenizer.json").exists():
        yield f"{key}.path: no tokenizer.json in {model.path!r}; expected is a folder with config.json, safetensors and tokenizer.json"
    if model.scratch is None:
        return
    scratch, shape = model.scratch, model.scratch.architecture
    if shape.hidden % shape.heads:
        yield f"{key}.scratch.architecture.hidden: found {shape.hidden}, allowed are multiples of heads ({shape.heads})"
    yield from _known(f"{key}.scratch.corpus", scratch.corpus, settings.corpora)
    yield from _known_split(f"{key}.scratch.split", scratch.corpus, scratch.split, settings)
    yield from _training_problems(f"{key}.scratch.training", scratch.training, model)


def _run_problems(key: str, run: Run, settings: Settings) -> Iterator[str]:
    yield from _known(f"{key}.student", run.student, settings.students)
    yield from _known(f"{key}.corpus", run.corpus, settings.corpora)
    for field in ("train_split", "validation_split"):
        yield from _known_split(f"{key}.{field}", run.corpus, getattr(run, field), settings)
    if run.train_split == run.validation_split:
        yield f"{key}.validation_split: found {run.validation_split!r}, which is the split that the run is trained on"
    if run.teacher is not None:
        yield from _known(f"{key}.teacher", run.teacher, settings.teachers)
    elif run.method != "sft":
        yield f"{key}.teacher: method {run.method} needs a teacher, one of {', '.join(settings.teachers) or 'none'}"
    student = settings.students.get(run.student)
    model = settings.models.get(student.model) if student else None
    yield from _training_problems(f"{key}.training", run.training, model)
    if student and model and run.method == "bld":
        scratch_bytes = model.scratch is not None and model.scratch.tokenizer.kind == "bytes"
        own_bytes = student.tokenizer is None and scratch_bytes
        if (student.tokenizer == "bytes" or own_bytes) and run.bld.head == "linear":
            yield (
                f"{key}.bld.head: found 'linear', but {run.student} is a byte student, whose output head "
                "is its byte head; allowed is 'output'"
            )
        elif run.bld.head == "output" and not (student.tokenizer == "bytes" or own_bytes):
            yield (
                f"{key}.bld.head: found 'output', but {run.student} is not known to be a byte student; "
                "allowed is 'linear' (or give the student `tokenizer: bytes`)"
            )


def _training_problems(key: str, training: Training, model: Model | None) -> Iterator[str]:
    yield from _fits(f"{key}.sequence_length", training.sequence_length, model)
    if training.batch_size % training.micro_batch_size:
        yield (
            f"{key}.micro_batch_size: found {training.micro_batch_size}, allowed are divisors of "
            f"batch_size ({training.batch_size})"
        )
    if training.warmup_steps >= training.steps:
        yield f"{key}.warmup_steps: found {training.warmup_steps}, allowed is less than steps ({training.steps})"
    if training.precision == "bf16" and training.zero_stage == 0:
        yield (
            f"{key}.zero_stage: found 0 with precision bf16, allowed is 1, 2 or 3 (DeepSpeed takes a "
            "phantom optimiser step with bf16 at stage 0)"
        )


def _fits(key: str, length: int, model: Model | None) -> Iterator[str]:
    if model and model.scratch and length > model.scratch.architecture.positions:
        positions = model.scratch.architecture.positions
        yield f"{key}: found {length}, allowed is at most the model's positions ({positions})"


def _one_source(key: str, section: Any, choices: tuple[str, ...]) -> Iterator[str]:
    given = [name for name in choices if getattr(section, name) is not None]
    if len(given) != 1:
        yield f"{key}: found {' and '.join(given) or 'no source'}, allowed is exactly one of {', '.join(choices)}"
    elif given == ["hub"] and section.revision is None:
        yield f"{key}.revision: a hub repository needs the commit to fetch, 40 hexadecimal digits"
    elif given != ["hub"] and section.revision is not None:
        yield f"{key}.revision: found a revision without `hub`"


def _known(key: str, name: str, entries: Mapping[str, Any]) -> Iterator[str]:
    if name not in entries:
        section = key.split(".")[-1]
        yield f"{key}: found {name!r}, which is not defined{_did_you_mean(name, entries) if entries else f'; no {section} is'}"


def _known_split(key: str, corpus: str, split: str, settings: Settings) -> Iterator[str]:
    if corpus in settings.corpora:
        yield from _known(key, split, settings.corpora[corpus].splits)
