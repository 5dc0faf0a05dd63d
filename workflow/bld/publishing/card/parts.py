"""What a student was made from: base model, tokenizer, teacher and documents, each with where it
came from and under which licence.

Where somebody's files lie on a disk is never told: what came from a folder is known by its name in
the configuration and its digest. Which licence a trained model has is for people to decide: a card
brings the terms of its parts together, in the identifiers that the hub takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bld.config.registry import SOURCES
from bld.config.settings import Scratch
from bld.pipeline.step_settings import WriteCard
from bld.reporting.words import listed, number

Manifests = Mapping[tuple[str, ...], Mapping[str, Any]]
"""Manifests by the last three folders of their paths: ("resources", "models", name), ("resources",
"datasets", name), ("corpora", corpus, split)."""
BASE, TOKENIZER, TEACHER, DOCUMENTS = "Base model", "Tokenizer", "Teacher", "Documents"
NOT_STATED = "not stated"
HUB_LICENCES = (
    "afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m "
    "bigscience-bloom-rail-1.0 bigscience-openrail-m bsd bsd-2-clause bsd-3-clause "
    "bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 "
    "cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 "
    "cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 "
    "cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license ecl-2.0 "
    "epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 fair-noncommercial-research-license gemma gfdl "
    "gpl gpl-2.0 gpl-3.0 h-research intel-research isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 "
    "llama3 llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by "
    "ofl-1.1 openmdw-1.0 openrail openrail++ osl-3.0 pddl postgresql unlicense wtfpl zlib"
)
"""Identifiers that the hub takes in `license`, besides `other` and `unknown`."""


class Licence(NamedTuple):
    """What a part says of its licence: its `names` (none if it says nothing), a link, and the files
    of its folder that hold the text."""

    names: tuple[str, ...] = ()
    link: str | None = None
    files: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """For people."""
        text = " and ".join(self.names) or NOT_STATED
        text += f", {self.link}" if self.link else ""
        return text + (f" (text: {', '.join(self.files)})" if self.files else "")


class Part(NamedTuple):
    """One thing that a model was made from. `hub` and `revision` say where it can be fetched;
    `licence` is none of what has no terms of its own, because it was made here from other parts."""

    role: str
    name: str
    what: str
    hub: str | None = None
    revision: str | None = None
    licence: Licence | None = None


def parts(settings: WriteCard, manifests: Manifests) -> list[Part]:
    """All parts of a run: its models, then the documents that it and they were trained on."""
    return [*_models(settings, manifests), *_data(settings, manifests)]


def stated_licence(manifest: Mapping[str, Any]) -> Licence:
    """The licence in the manifest of a fetched or linked folder."""
    stated = manifest.get("licence", {})
    names = stated.get("license") or []
    names = [names] if isinstance(names, str) else [str(name) for name in names]
    known = [name for name in names if name not in ("other", "unknown")]
    if own := stated.get("license_name"):
        known = [str(own), *known]
    link = stated.get("license_link")
    return Licence(tuple(known), str(link) if link else None, tuple(stated.get("files", ())))


def card_licence(licences: Sequence[Licence]) -> dict[str, Any]:
    """The fields `license`, and if need be `license_name` and `license_link`, of a card for a model
    whose parts have these licences.

    One that all share and that the hub knows stands as it is; anything else is `other`, named by
    all of them in their order.
    """
    names = list(dict.fromkeys(name for one in licences for name in one.names or ("unknown",)))
    if len(names) == 1 and names[0].lower() in HUB_LICENCES.split():
        return {"license": names[0].lower()}
    fields = {"license": "other", "license_name": "-and-".join(map(_slug, names)) or "unknown"}
    link = licences[0].link if len(names) == 1 else None
    return fields | ({"license_link": link} if link and link.startswith("https://") else {})


def _slug(name: str) -> str:
    """Small letters, digits, dots and dashes: what the hub takes as a name."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "unknown"


def _models(settings: WriteCard, manifests: Manifests) -> Iterator[Part]:
    yield _model(BASE, settings.student.model, settings, manifests)
    tokenizer = settings.student.tokenizer
    if tokenizer == "bytes":
        yield Part(TOKENIZER, tokenizer, "the 256 bytes themselves, and special tokens")
    elif tokenizer in settings.scratch:
        scratch = settings.scratch[tokenizer]
        kind, entries = scratch.tokenizer.kind, number(scratch.tokenizer.vocabulary, 0)
        what = f"trained by this workflow: {kind}, aimed at {entries} entries"
        yield Part(TOKENIZER, tokenizer, f"{what}, on {_documents(scratch)}")
    elif tokenizer:
        yield _model(TOKENIZER, tokenizer, settings, manifests)
    for name in _teacher_models(settings):
        yield _model(TEACHER, name, settings, manifests)


def _teacher_models(settings: WriteCard) -> list[str]:
    return sorted(settings.teacher.models) if settings.teacher else []


def _model(role: str, name: str, settings: WriteCard, manifests: Manifests) -> Part:
    if scratch := settings.scratch.get(name):
        shape, training = scratch.architecture, scratch.training
        assert shape and training, "the configuration is refused without weights to learn with"
        what = (
            f"made from scratch by this workflow: Llama-style, {shape.layers} layers of width "
            f"{shape.hidden}, {number(training.steps, 0)} steps on {_documents(scratch)}"
        )
        return Part(role, name, what)
    return _fetched(role, name, manifests["resources", "models", name], "a model folder on disk")


def _data(settings: WriteCard, manifests: Manifests) -> Iterator[Part]:
    """The corpora, that of the run first, each with those that were trained on it."""
    run, student = settings.run, settings.student
    readers = {(run.corpus, run.train_split): ["this model"]}
    made = [("the base model", student.model), ("the tokenizer", student.tokenizer)]
    made += [("the teacher", name) for name in _teacher_models(settings)]
    for who, name in made:
        if scratch := settings.scratch.get(str(name)):
            known = readers.setdefault((scratch.corpus, scratch.split), [])
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


def _documents(scratch: Scratch) -> str:
    count = f"{number(scratch.documents, 0)} documents of " if scratch.documents else ""
    return f"{count}split {scratch.split} of {scratch.corpus}"
