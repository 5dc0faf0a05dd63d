"""What a student was made from, as its model card tells it: base model, tokenizer, teacher and documents, each with where it
came from and under which licence.

Where somebody's files lie on a disk is never told: what came from a folder is known by its name in the configuration and
its digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bld.config.registry import SOURCES
from bld.publishing.card.licences import Licence, stated_licence
from bld.reporting.numbers import listed, number

Manifests = Mapping[tuple[str, ...], Mapping[str, Any]]
"""Manifests by the last three folders of their paths: ("resources", "models", name), ("resources", "datasets", name),
("corpora", corpus, split)."""
BASE, TOKENIZER, TEACHER, DOCUMENTS = "Base model", "Tokenizer", "Teacher", "Documents"


class Part(NamedTuple):
    """One thing that a model was made from. `hub` and `revision` say where it can be fetched; `licence` is none of what has
    no terms of its own, because it was made here from other parts."""

    role: str
    name: str
    what: str
    hub: str | None = None
    revision: str | None = None
    licence: Licence | None = None


def parts(settings: Mapping[str, Any], manifests: Manifests) -> list[Part]:
    """All parts of a run: its models, then the documents that it and they were trained on.

    `settings` are those of the step: `run`, `student`, `teacher` (none where nothing is learned from one) and `scratch`, the
    models among them that were made here, by name.
    """
    return [*_models(settings, manifests), *_data(settings, manifests)]


def _models(settings: Mapping[str, Any], manifests: Manifests) -> Iterator[Part]:
    student, teacher = settings["student"], settings["teacher"]
    yield _model(BASE, student["model"], settings, manifests)
    tokenizer = student["tokenizer"]
    if tokenizer == "bytes":
        yield Part(TOKENIZER, tokenizer, "the 256 bytes themselves, and special tokens")
    elif tokenizer in settings["scratch"]:
        scratch = settings["scratch"][tokenizer]
        shape = scratch["tokenizer"]
        entries = number(shape["vocabulary"], 0)
        what = f"trained by this workflow: {shape['kind']}, aimed at {entries} entries"
        yield Part(TOKENIZER, tokenizer, f"{what}, on {_documents(scratch)}")
    elif tokenizer:
        yield _model(TOKENIZER, tokenizer, settings, manifests)
    for name in teacher_models(teacher) if teacher else []:
        yield _model(TEACHER, name, settings, manifests)


def teacher_models(teacher: Mapping[str, Any]) -> list[str]:
    """The model that a teacher is, or those of which it is the average."""
    average = teacher.get("average")
    return sorted(average["models"]) if average else [teacher["model"]]


def _model(role: str, name: str, settings: Mapping[str, Any], manifests: Manifests) -> Part:
    if name in settings["scratch"]:
        scratch = settings["scratch"][name]
        shape, steps = scratch["architecture"], number(scratch["training"]["steps"], 0)
        what = (
            f"made from scratch by this workflow: Llama-style, {shape['layers']} layers of width {shape['hidden']}, "
            f"{steps} steps on {_documents(scratch)}"
        )
        return Part(role, name, what)
    return _fetched(role, name, manifests["resources", "models", name], "a model folder on disk")


def _data(settings: Mapping[str, Any], manifests: Manifests) -> Iterator[Part]:
    """The corpora, that of the run first, each with those that were trained on it."""
    run, student, teacher = settings["run"], settings["student"], settings["teacher"]
    readers = {(run["corpus"], run["train_split"]): ["this model"]}
    made = [("the base model", student["model"]), ("the tokenizer", student["tokenizer"])]
    made += [("the teacher", name) for name in (teacher_models(teacher) if teacher else [])]
    for who, name in made:
        if scratch := settings["scratch"].get(name):
            known = readers.setdefault((scratch["corpus"], scratch["split"]), [])
            known += [who] * (who not in known)
    for corpus in dict.fromkeys(corpus for corpus, _ in readers):
        splits = {split: who for (of, split), who in readers.items() if of == corpus}
        part = _documents_of(corpus, manifests["corpora", corpus, next(iter(splits))], manifests)
        use = listed([who for of_split in splits.values() for who in of_split])
        yield part._replace(what=f"{part.what}; used for {use}")


def _documents_of(corpus: str, split: Mapping[str, Any], manifests: Manifests) -> Part:
    source = SOURCES[split["source"]["kind"]].model_validate(split["source"])
    for name in source.datasets:
        manifest = manifests["resources", "datasets", name]
        return _fetched(DOCUMENTS, corpus, manifest, "a data set on disk")
    licence = Licence((source.licence[0],), source.licence[1]) if source.licence else Licence()
    return Part(DOCUMENTS, corpus, source.description(split.get("python")), licence=licence)


def _fetched(role: str, name: str, manifest: Mapping[str, Any], on_disk: str) -> Part:
    source = manifest["source"]
    if "hub" in source:
        what = "from the Hugging Face hub"
        return Part(role, name, what, source["hub"], source["revision"], stated_licence(manifest))
    files = manifest["files"]
    largest = max(files, key=lambda one: (files[one]["bytes"], one))
    what = f"{on_disk}; SHA-256 of its largest file, {largest}: {files[largest]['sha256']}"
    return Part(role, name, what, licence=stated_licence(manifest))


def _documents(scratch: Mapping[str, Any]) -> str:
    count = scratch["documents"]
    count = f"{number(count, 0)} documents of " if count else ""
    return f"{count}split {scratch['split']} of {scratch['corpus']}"
