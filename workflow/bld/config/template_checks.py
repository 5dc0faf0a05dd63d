"""Benchmarks that ask for a chat template, and models that have none: found when the configuration
is read, where a model is here already, and else when it is fetched or linked; never after the
training."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

from bld.config.run_checks import found_here
from bld.config.settings import Settings

TEMPLATES = ("chat_template.jinja", "chat_template.json")


def benchmarks_asking(model: str, settings: Settings) -> list[str]:
    """The benchmarks that put questions into the chat template of this model's tokenizer, be it
    evaluated itself or its tokenizer a student's."""
    asked = set()
    for run in settings.runs.values():
        if student := settings.students.get(run.student):
            is_own = student.tokenizer in (None, "bytes")
            asked.add(student.model if is_own else student.tokenizer)
        if (teacher := settings.teachers.get(run.teacher or "")) and not teacher.average:
            asked.add(teacher.model)
    if model not in asked:
        return []
    return [name for name, one in settings.benchmarks.items() if one.chat_template is True]


def template_problems(name: str, settings: Settings) -> Iterator[str]:
    """Where a benchmark asks for a chat template that a model does not have, or does not use."""
    model = settings.models[name]
    tokenizer = found_here(name, model, "tokenizer.json")
    for benchmark in benchmarks_asking(name, settings):
        if model.template == "plain":
            reason = f"since models.{name}.template is `plain`"
        elif tokenizer and not has_chat_template(tokenizer.parent):
            reason = f"since the tokenizer of the model `{name}` in {tokenizer.parent} has none"
        else:
            continue
        yield f"benchmarks.{benchmark}.chat_template: found true, expected false or auto {reason}"


def has_chat_template(folder: Path) -> bool:
    """Whether the tokenizer in a folder has a chat template, as transformers would find it."""
    path = folder / "tokenizer_config.json"
    said = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return bool(said.get("chat_template")) or any((folder / name).exists() for name in TEMPLATES)


def add_asked_by(parser: ArgumentParser) -> None:
    """The option that says which benchmarks ask for a chat template; without a value, none do."""
    named = "benchmarks, with commas between"
    parser.add_argument("--asked-by", nargs="?", default="", const="", help=named)


def check_template(folder: Path, name: str, benchmarks: str) -> None:
    """Raise ValueError if these benchmarks ask for a chat template that the folder lacks; `name`
    is where it comes from."""
    if benchmarks and not has_chat_template(folder):
        raise ValueError(
            f"{name} has no chat template, for which the benchmarks {benchmarks} ask; write "
            "`chat_template: false` for them, or `auto`, which takes templates where there are any"
        )
