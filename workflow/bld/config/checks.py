"""Reads the configuration, and says in words what is wrong with it before any job starts.

Types, ranges and unknown keys come from the models in `config`; here are the rules that span
several settings. All problems are reported at once: each names the key, what was found and what is
expected.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bld.config.evaluation import MEASURES
from bld.config.phrases import did_you_mean, either, listed, shown
from bld.config.plan import PEAKS, Plan
from bld.config.run_checks import (
    comparison_problems,
    fits,
    known,
    known_split,
    run_problems,
    trained_on,
    training_problems,
)
from bld.config.settings import (
    Archive,
    Audit,
    Benchmark,
    Corpus,
    Dataset,
    Model,
    Scratch,
    Settings,
    Shape,
    Student,
    Teacher,
)
from bld.config.template_checks import template_problems
from bld.config.words import problem_in_words

TAKEN = (*MEASURES, "byte_jsd")
"""Names in the report that no benchmark may have."""


class ConfigError(ValueError):
    """What is wrong with the configuration, one problem a line."""


def read_settings(raw: Mapping[str, Any]) -> Settings:
    """The validated settings; raises ConfigError that lists every problem found."""
    try:
        settings = Settings.model_validate(dict(raw))
    except ValidationError as error:
        found = {(x["loc"], repr(x["input"])) for x in error.errors()}
        # What a run takes from a common section is reported there.
        own = [x for x in error.errors() if (x["loc"][2:], repr(x["input"])) not in found]
        raise _listing(map(problem_in_words, own)) from None
    problems = list(_problems(settings))
    if problems:
        raise _listing(problems)
    return settings


def _listing(problems: Iterable[str]) -> ConfigError:
    lines = list(dict.fromkeys(problems))
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    return ConfigError(f"{count} in the configuration:\n" + "\n".join(f"  * {x}" for x in lines))


def _problems(settings: Settings) -> Iterator[str]:
    for name, dataset in settings.datasets.items():
        yield from _dataset_problems(f"datasets.{name}", dataset)
    for name, corpus in settings.corpora.items():
        yield from _corpus_problems(f"corpora.{name}", corpus, settings)
    for name, model in settings.models.items():
        yield from _model_problems(f"models.{name}", model, settings)
        yield from template_problems(name, settings)
    for name, teacher in settings.teachers.items():
        yield from _teacher_problems(f"teachers.{name}", teacher, settings)
        yield from _audit_problems(name, teacher, settings.audit)
    for name, student in settings.students.items():
        yield from _weights_problems(f"students.{name}.model", student.model, settings)
        yield from _student_problems(f"students.{name}", student, settings)
    for name, run in settings.runs.items():
        yield from run_problems(f"runs.{name}", run, settings)
    for name, benchmark in settings.benchmarks.items():
        yield from _benchmark_problems(name, benchmark, settings)
    yield from comparison_problems(settings)
    for name, archive in settings.archives.items():
        yield from _archive_problems(f"archives.{name}", archive, settings)
    yield from _plan_problems(settings.plan)


def _teacher_problems(key: str, teacher: Teacher, settings: Settings) -> Iterator[str]:
    if (teacher.model is None) == (teacher.average is None):
        found = "both" if teacher.average else "neither"
        yield f"{key}: found {found} of `model` and `average`, expected one of them"
    for name in teacher.models:
        where = f"{key}.average.models" if teacher.average else f"{key}.model"
        yield from _weights_problems(where, name, settings)
        for text in fits(teacher.window, settings.models.get(name)):
            yield f"{key}.window: {text}"
    if teacher.average and teacher.top_k_tokens:
        yield (
            f"{key}.top_k_tokens: found {teacher.top_k_tokens}, expected 0 since models that are "
            "averaged have no tokens in common"
        )


def _audit_problems(name: str, teacher: Teacher, audit: Audit) -> Iterator[str]:
    """Where the audit would not be stricter than what it audits."""
    if audit.histories != teacher.histories:
        return
    if audit.eps > teacher.eps:
        yield (
            f"audit.eps: found {audit.eps:g}, expected at most the `eps` of the teacher `{name}` "
            f"({teacher.eps:g})"
        )
    if audit.histories == "beam" and audit.beam_width < teacher.beam_width:
        yield (
            f"audit.beam_width: found {audit.beam_width}, expected at least the `beam_width` of "
            f"the teacher `{name}` ({teacher.beam_width})"
        )


def _benchmark_problems(name: str, benchmark: Benchmark, settings: Settings) -> Iterator[str]:
    key, local = f"benchmarks.{name}", benchmark.local
    if name in TAKEN:
        yield (
            f"{key}: found the name of a measure of our own, expected another than "
            f"{either(f'`{x}`' for x in TAKEN)}"
        )
    if (benchmark.task is None) == (local is None):
        found = "both" if local else "neither"
        yield f"{key}: found {found} of `task` and `local`, expected one of them"
    if local is None:
        if not benchmark.data:
            yield (
                f"{key}.data: missing, expected the hub's data sets that the task reads, each "
                "with a commit"
            )
        return
    if benchmark.data or benchmark.nltk:
        yield (
            f"{key}.data: found data of the hub, expected none since the benchmark is made here "
            "(`local`)"
        )
    if benchmark.few_shot:
        yield (
            f"{key}.few_shot: found {benchmark.few_shot}, expected null or 0 since what is made "
            "here has no examples"
        )
    yield from known(f"{key}.local.corpus", local.corpus, settings, "corpora")
    yield from known_split(f"{key}.local.split", local.corpus, local.split, settings)
    corpus = settings.corpora.get(local.corpus)
    if corpus and not corpus.source.has_local_benchmarks:
        yield (
            f"{key}.local.corpus: found `{local.corpus}`, expected a corpus with `kind: "
            "python_docs`"
        )
    for run in settings.runs.values():
        for who, split in trained_on(run, settings):
            if split == (local.corpus, local.split):
                yield (
                    f"{key}.local.split: found {shown(local.split)}, expected a split that {who} "
                    "is not trained on"
                )


def _archive_problems(key: str, archive: Archive, settings: Settings) -> Iterator[str]:
    names = archive.runs or []
    for number, name in enumerate(names):
        yield from known(f"{key}.runs[{number}]", name, settings, "runs")
        if name in names[:number]:
            yield f"{key}.runs[{number}]: found `{name}` a second time, expected every run once"


def _plan_problems(plan: Plan) -> Iterator[str]:
    if plan.gpu not in PEAKS and not (plan.tflops and plan.memory_gib):
        yield (
            f"plan.gpu: found {shown(plan.gpu)}, expected {either(f'`{name}`' for name in PEAKS)}, "
            f"or `plan.tflops` and `plan.memory_gib` of another{did_you_mean(plan.gpu, PEAKS)}"
        )


def _dataset_problems(key: str, dataset: Dataset) -> Iterator[str]:
    yield from _source_problems(key, dataset, ("hub", "path"))
    if dataset.path is not None and not Path(dataset.path).is_dir():
        yield f"{key}.path: found {shown(dataset.path)}, expected a folder that exists"


def _corpus_problems(key: str, corpus: Corpus, settings: Settings) -> Iterator[str]:
    total = sum(split.fraction for split in corpus.splits.values())
    if total > 1 + 1e-9:
        yield f"{key}.splits: found fractions that add up to {total:g}, expected at most 1"
    for name, split in corpus.splits.items():
        if split.documents is not None and split.shards > split.documents:
            yield (
                f"{key}.splits.{name}.shards: found {split.shards}, expected at most one for each "
                f"of the split's {split.documents} documents"
            )
    for name in corpus.source.datasets:
        yield from known(f"{key}.source.dataset", name, settings, "datasets")
    for number, name in enumerate(corpus.judged_by):
        yield from known(f"{key}.judged_by[{number}]", name, settings, "models")
        if name in settings.models and settings.models[name].scratch:
            yield (
                f"{key}.judged_by[{number}]: found `{name}`, which is made from documents, "
                "expected a model from the hub or a folder"
            )
    for field, text in corpus.source.problems():
        yield f"{key}.source.{field}: {text}"


def _model_problems(key: str, model: Model, settings: Settings) -> Iterator[str]:
    yield from _source_problems(key, model, ("hub", "path", "scratch"))
    for name, value in model.template_arguments.items():
        try:
            json.dumps(value)
        except TypeError:
            yield (
                f"{key}.template_arguments.{name}: found a {type(value).__name__}, expected text; "
                "put it in quotes"
            )
    if model.path is not None:
        patterns = ["tokenizer.json"] + ["config.json", "*.safetensors"] * model.weights
        if missing := [x for x in patterns if not any(Path(model.path).glob(x))]:
            lacking = (
                f"without {listed(missing)}" if Path(model.path).is_dir() else "which is no folder"
            )
            yield (
                f"{key}.path: found {shown(model.path)}, {lacking}, expected a folder with "
                f"{listed(patterns)}"
            )
    if model.scratch is not None:
        yield from _scratch_problems(f"{key}.scratch", model.scratch, model, settings)
    if model.shape is not None:
        yield from _shape_problems(f"{key}.shape", model.shape, model.weights)


def _shape_problems(key: str, shape: Shape, weights: bool) -> Iterator[str]:
    missing = [x for x in ("hidden", "layers", "heads", "intermediate") if not getattr(shape, x)]
    if weights and missing:
        yield (
            f"{key}: found no {listed(missing)}, expected them of a model that is not `weights: "
            "false`"
        )
    elif shape.hidden and shape.heads and shape.hidden % shape.heads and not shape.head_width:
        yield f"{key}.head_width: missing, expected it since `hidden` is no multiple of `heads`"


def _scratch_problems(
    key: str, scratch: Scratch, model: Model, settings: Settings
) -> Iterator[str]:
    yield from known(f"{key}.corpus", scratch.corpus, settings, "corpora")
    yield from known_split(f"{key}.split", scratch.corpus, scratch.split, settings)
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
        for (field, *_), text in training_problems(scratch.training, model):
            yield f"{key}.training.{field}: {text}"


def _student_problems(key: str, student: Student, settings: Settings) -> Iterator[str]:
    if student.tokenizer not in (None, "bytes"):
        yield from known(f"{key}.tokenizer", student.tokenizer, settings, "models")
    if student.tokenizer is None:
        for field in ("initialisation", "pad_vocabulary_to"):
            default, found = Student.model_fields[field].default, getattr(student, field)
            if found != default:
                yield (
                    f"{key}.{field}: found {shown(found)}, expected {shown(default)} since the "
                    "student keeps its tokenizer and so its embeddings; give it another under "
                    "`tokenizer`"
                )


def _source_problems(key: str, section: Dataset | Model, sources: tuple[str, ...]) -> Iterator[str]:
    given = [name for name in sources if getattr(section, name) is not None]
    if len(given) != 1:
        yield (
            f"{key}: found {listed(given) or 'no source'}, expected exactly one of "
            f"{listed(sources)}"
        )
    elif given == ["hub"] and section.revision is None:
        yield (
            f"{key}.revision: missing, expected what to fetch of `hub`: `main`, another branch, a "
            "tag, or a commit of 40 hexadecimal digits"
        )
    elif given != ["hub"] and section.revision is not None:
        yield (
            f"{key}.revision: found {shown(section.revision)}, expected none since there is no "
            "`hub`"
        )


def _weights_problems(key: str, name: str, settings: Settings) -> Iterator[str]:
    yield from known(key, name, settings, "models")
    if name in settings.models and not settings.models[name].weights:
        yield f"{key}: found `{name}`, which has `weights: false`, expected a model with weights"
