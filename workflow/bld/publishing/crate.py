"""Puts runs into one file that a stranger can check: their report, and back from it everything that it rests on.

What a crate holds, and under which names, is the working folder's: records, manifests, measures and logs, beside the code and
the configuration. Documents, byte caches and models are described by their digests.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bld.files import MANIFEST, read_manifest
from bld.publishing.chain import Action, chain, expect_code
from bld.publishing.contents import Content, read_content, text_content, write_zip
from bld.publishing.graph import Described
from bld.publishing.history import bundle, code_files, commit_of
from bld.publishing.manifests import parts
from bld.publishing.metadata import Subject, metadata
from bld.publishing.reading import BUNDLE, CONFIGURATION, METADATA
from bld.publishing.scrub import Scrubber

BULK = {".parquet", ".safetensors"}
KEPT = "results/runs/*/metrics.parquet"
LICENCE = re.compile(r"LICEN[CS]E|COPYING|NOTICE|USE_POLICY", re.IGNORECASE)
WEIGHTS = "results/runs/{run}/{part}/manifest.json"


class Order(NamedTuple):
    """What is to be archived: the settings of the archive, the configuration as resolved, `splits` with the order of each
    corpus' splits, which counts and which a step line does not keep, and the version of Snakemake."""

    archive: Mapping[str, Any]
    configuration: Mapping[str, Any]
    splits: Mapping[str, list[str]]
    snakemake: str


def write_crate(order: Order, report: str, target: Path, code: Path) -> list[str]:
    """Write the crate of the record `report` and of what it rests on; what a reader should know, in words.

    Paths are from the current folder, where the workflow ran; `code` is the folder of the Snakefile. Raises ValueError,
    naming the file, where the chain of records is broken or a file is not the one that was recorded.
    """
    folder = Path()
    actions = chain(folder, report)
    expect_code(actions, code / "workflow/bld")
    scrubber = Scrubber(os.environ, _own_words(order, actions, code))
    contents = {content.path: content for content in _code_contents(code, scrubber)}
    contents |= {CONFIGURATION: _configuration(order, scrubber)}
    remarks = []
    try:
        contents[BUNDLE] = _bundle(code, scrubber)
        remarks.append(
            f"{BUNDLE} names the authors of its commits, as any clone of the repository does."
        )
    except ValueError as reason:
        remarks.append(f"No history of the code is in the crate: {reason}.")
    collected = _Collected(folder, scrubber, order.archive["include_weights"], _runs(order))
    for action in actions:
        collected.take(action)
    contents |= collected.contents
    remarks += collected.remarks
    subject = Subject(order.archive, order.snakemake, report, commit_of(code), remarks)
    graph = metadata(subject, actions, contents, collected.described)
    contents[METADATA] = text_content(METADATA, graph, scrubber)
    write_zip(contents.values(), target)
    return remarks


def resolved(order: Order) -> dict[str, Any]:
    """The configuration with its splits in their order."""
    configuration = copy.deepcopy(dict(order.configuration))
    for corpus, names in order.splits.items():
        splits = configuration["corpora"][corpus]["splits"]
        configuration["corpora"][corpus]["splits"] = {name: splits[name] for name in names}
    return configuration


class _Collected:
    """The files of actions, as they come into the crate: whole, or described."""

    def __init__(
        self, folder: Path, scrubber: Scrubber, with_weights: bool, runs: list[str]
    ) -> None:
        self._folder, self._scrubber = folder, scrubber
        kept = [WEIGHTS.format(run=run, part=part) for run in runs for part in ("model", "head")]
        self._whole = set(kept) if with_weights else set()
        self.contents: dict[str, Content] = {}
        self.described: dict[str, Described] = {}
        self.remarks: list[str] = []

    def take(self, action: Action) -> None:
        """Take in the record of an action, what it made, its log and its benchmark."""
        self._read(action.path)
        for path, made in action.record["outputs"].items():
            if Path(path).suffix in BULK and not fnmatch(path, KEPT):
                self.described[path] = Described(made["sha256"], made["bytes"])
                continue
            self._expect(path, made["sha256"], action)
            if Path(path).name == MANIFEST:
                for part, about in parts(path, read_manifest(self._folder / path)).items():
                    self._take_part(path, part, about, action)
        for path in action.given:
            self.described[path] = Described(action.record["inputs"][path], None)
        for kind in ("log", "benchmark"):
            path = action.record[kind]
            if path and (self._folder / path).is_file():
                self._read(path)
            elif path:
                self.remarks.append(f"The {kind} of {action.path} was gone: {path}.")

    def _take_part(self, manifest: str, path: str, about: Mapping[str, Any], by: Action) -> None:
        """A file that a manifest stands for: weights if asked for, the text of a licence, else described."""
        if manifest in self._whole or LICENCE.match(Path(path).name):
            self._expect(path, about["sha256"], by)
        else:
            self.described[path] = Described(about["sha256"], about.get("bytes"), manifest)

    def _expect(self, path: str, digest: str, action: Action) -> None:
        if not (self._folder / path).is_file():
            found = "no such file"
        elif (recorded := self._read(path).recorded) == digest:
            return
        else:
            found = f"sha256 {recorded[:12]}..."
        raise ValueError(
            f"{path}: found {found}, expected sha256 {digest[:12]}... as {action.path} says; "
            f"run `snakemake` again, and if it finds nothing to do, delete {action.path} first"
        )

    def _read(self, path: str) -> Content:
        if path not in self.contents:
            self.contents[path] = read_content(path, self._folder / path, self._scrubber)
        return self.contents[path]


def _runs(order: Order) -> list[str]:
    return order.archive["runs"] or list(order.configuration["runs"])


def _code_contents(code: Path, scrubber: Scrubber) -> Iterator[Content]:
    for name in code_files(code):
        yield read_content(scrubber.clean(name)[0], code / name, scrubber)


def _configuration(order: Order, scrubber: Scrubber) -> Content:
    # Of any width, so that no text is broken where it would not be known as a path or a secret any more.
    text = yaml.safe_dump(resolved(order), sort_keys=False, allow_unicode=True, width=float("inf"))
    heading = "# The configuration as it was resolved, with every default written out.\n"
    return text_content(CONFIGURATION, heading + text, scrubber)


def _bundle(code: Path, scrubber: Scrubber) -> Content:
    data = bundle(code, scrubber)
    return Content(BUNDLE, hashlib.sha256(data).hexdigest(), len(data), data)


def _own_words(order: Order, actions: list[Action], code: Path) -> set[str]:
    """What an account may be called by accident: words of the workflow, of public repositories, and those given to be read."""
    texts = [(code / n).read_text("utf-8") for n in code_files(code) if n.endswith((".py", ".smk"))]
    texts += [path for action in actions for path in (action.path, *action.record["outputs"])]
    sources = [*order.configuration["models"].values(), *order.configuration["datasets"].values()]
    texts += [source["hub"] for source in sources if source["hub"]]
    texts += [json.dumps(author) for author in order.archive["authors"]]
    return {word for text in texts for word in re.findall(r"\w+|[\w.-]+", text)}
