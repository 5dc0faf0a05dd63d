"""Puts runs into one file that a stranger can check: their report, and back from it all that it
rests on.

What a crate holds, and under which names, is the working folder's: records, manifests, measures and
logs, beside the code and the configuration. Documents, byte caches and models are described by
their digests. Nothing is rewritten: a file with a secret or a path of this machine is refused, and
a log or a configuration file or profile with a path or name is left out, which the crate says.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import yaml

from bld.files import MANIFEST, RECORD, appearing, read_manifest, sha256_of
from bld.pipeline.code_digest import code_modules, loaded_modules
from bld.pipeline.record import Record
from bld.pipeline.step_settings import Archive
from bld.privacy import anonymised
from bld.publishing.chain import MADE, Action, Manifests, chain, read_record
from bld.publishing.git import bundle, code_files, commit_of
from bld.publishing.graph import BUNDLE, CONFIGURATION, METADATA, Described
from bld.publishing.leaks import Detector
from bld.publishing.metadata import Subject, metadata

BULK = {".parquet", ".safetensors"}
WEIGHTS = ".safetensors"
METRICS = "results/runs/*/metrics.parquet"
MODEL = "results/runs/{run}/{part}/manifest.json"
LICENCE = re.compile(r"LICEN[CS]E|COPYING|NOTICE|USE_POLICY", re.IGNORECASE)
OWN_SETTINGS = ("config/", "profiles/")
"""Code that users fill with names of their own machines; `configuration.yaml` has what was run."""
HEADING = """\
# The configuration as it was resolved, with every default written out. Paths outside of the folder
# of the workflow are given from the home folder (~), or with USER for the name of the account.
"""
FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""Of the zip format: files in a crate have no time."""
READABLE, UNIX = 0o100644 << 16, 3
ZIP64_BYTES = 2**31


class Content(NamedTuple):
    """A file of the crate: what describes it, and its bytes or where they are."""

    about: Described
    data: bytes | Path

    def open(self) -> BinaryIO:
        """A stream of the file's bytes."""
        return BytesIO(self.data) if isinstance(self.data, bytes) else open(self.data, "rb")


def write_crate(settings: Archive, report: str, target: Path, code: Path) -> list[str]:
    """Write the crate of the record `report` and of what it rests on; what a reader should know, in
    words.

    Paths are from the current folder, where the workflow ran; `code` is the folder of the
    Snakefile. Raises ValueError, naming the file and what to do, where the chain of records is
    broken, a file is not the one that was recorded, or a file holds what should not be published.
    """
    actions = chain_of(report)
    _expect_code(actions, code / "workflow/bld")
    detector = Detector(os.environ, _public_words(settings, actions, code))
    files = _Files(detector)
    for name in code_files(code):
        files.add(name, code / name, is_optional=name.startswith(OWN_SETTINGS))
    configuration = anonymised(resolved(settings))
    # Of any width, so that no text is broken where it would not be known as a secret any more.
    text = yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True, width=float("inf"))
    files.add(CONFIGURATION, (HEADING + text).encode())
    texts = {path: files.text(path) for path in files.contents if path.endswith((".py", ".cff"))}
    try:
        files.contents[BUNDLE] = _content(bundle(code, detector))
        remark = f"{BUNDLE} names the authors of its commits, as any clone of the repository does."
    except ValueError as reason:
        remark = f"No history of the code is in the crate: {reason}."
    archive, runs = settings.archive, settings.archive.runs or settings.configuration.runs
    models = [MODEL.format(run=run, part=part) for run in runs for part in ("model", "head")]
    described = _collect(actions, models if archive.include_weights else [], files)
    remarks = [remark, *files.remarks]
    subject = Subject(archive, settings.snakemake, report, commit_of(code), remarks)
    included = {path: content.about for path, content in files.contents.items()}
    files.add(METADATA, metadata(subject, actions, texts, included, described).encode())
    _write_zip(files.contents, target)
    return remarks


class _Files:
    """The files of the crate, each searched for what should not be published."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._left_out: dict[str, str] = {}
        self._gone: list[str] = []
        self.contents: dict[str, Content] = {}

    def add(
        self, path: str, source: Path | bytes, is_optional: bool = False, is_log: bool = False
    ) -> Described:
        """A file of the crate, which is read once; its digest and size. Raises ValueError for a
        secret or a path of this machine, but for an optional file with a path and for any log: that
        is left out."""
        if path in self.contents:
            return self.contents[path].about
        if isinstance(source, Path) and source.suffix == WEIGHTS:
            about = Described(sha256_of(source), source.stat().st_size)
            self.contents[path] = Content(about, source)
            return about
        content = _content(source.read_bytes() if isinstance(source, Path) else source)
        assert isinstance(content.data, bytes)
        if leak := self._detector.leak(content.data.decode("utf-8", errors="replace")):
            if not is_log and (leak.is_secret or not is_optional):
                raise ValueError(leak.refusal(path))
            self._left_out[path] = leak.kind
        else:
            self.contents[path] = content
        return content.about

    def add_log(self, path: str | None) -> None:
        """A log or a benchmark, if there is one and it can be published."""
        if path and Path(path).is_file():
            self.add(path, Path(path), is_log=True)
        elif path:
            self._gone.append(path)

    def text(self, path: str) -> str:
        data = self.contents[path].data
        assert isinstance(data, bytes)
        return data.decode("utf-8", errors="replace")

    @property
    def remarks(self) -> list[str]:
        """What is not in the crate, and why."""
        remarks = [f"Gone before the crate was written: {', '.join(self._gone)}."] * bool(
            self._gone
        )
        for kind in sorted(set(self._left_out.values())):
            paths = [path for path, other in self._left_out.items() if other == kind]
            remarks.append(f"Left out, for it would tell {kind}: {', '.join(sorted(paths))}.")
        return remarks


def chain_of(report: str) -> list[Action]:
    """A record in the current folder and every record that it rests on, sorted by path. Raises
    ValueError, naming the file and what to do, where the chain is broken."""
    records: dict[str, Record] = {}
    broken = []
    for path in _record_paths():
        try:
            records[path] = read_record(path, json.loads(Path(path).read_text(encoding="utf-8")))
        except ValueError:
            broken.append(path)
    manifests = Manifests(lambda x: read_manifest(x) if Path(x).is_file() else {})
    try:
        return chain(records, manifests, report)
    except ValueError as error:
        remedy = f"delete {', '.join(broken)}, no record of a job, and " if broken else ""
        raise ValueError(
            f"{error}; {remedy}run `snakemake` again, and if it finds nothing to do, delete the "
            "record of the job that read the file first"
        ) from error


def _record_paths() -> Iterator[str]:
    for top in MADE:
        for where, folders, names in os.walk(top):
            folders.sort()
            yield from (Path(where, x).as_posix() for x in sorted(names) if x.endswith(RECORD))


def _expect_code(actions: Iterable[Action], package: Path) -> None:
    """Raises ValueError, naming record and modules, where a job ran other code than the package
    `bld` in this folder holds: it was edited while the job waited."""
    for action in actions:
        step, stage = action.record.step, f"bld.stages.{action.record.stage}"
        ran = step.code.modules
        here = code_modules(stage, package, loaded_modules(step.settings, package))
        if others := [x for x in sorted({*ran, *here}) if ran.get(x) != here.get(x)]:
            raise ValueError(
                f"{action.path}: the job ran another version of {', '.join(others)} than there is "
                "here; run `snakemake` again, and if it finds nothing to do, delete "
                f"{action.path} first"
            )


def _collect(
    actions: Iterable[Action], models: Sequence[str], files: _Files
) -> dict[str, Described]:
    """Add what actions left: records, outputs, logs and benchmarks, and the files of `models`
    (manifests). All else that they read or made is described.

    Raises ValueError where a file is not the one that was recorded.
    """
    described: dict[str, Described] = {}
    manifests = Manifests(read_manifest)

    def expect(path: str, sha256: str, action: Action) -> None:
        if not Path(path).is_file():
            found = "no such file"
        elif (digest := files.add(path, Path(path)).sha256) == sha256:
            return
        else:
            found = f"sha256 {digest[:12]}..."
        raise ValueError(
            f"{path}: found {found}, expected sha256 {sha256[:12]}... as {action.path} says; "
            f"run `snakemake` again, and if it finds nothing to do, delete {action.path} first"
        )

    for action in actions:
        files.add(action.path, Path(action.path))
        for path, made in action.record.outputs.items():
            if Path(path).suffix in BULK and not fnmatch(path, METRICS):
                described[path] = Described(made.sha256, made.bytes)
                continue
            expect(path, made.sha256, action)
            for part, about in manifests.files(path).items() if Path(path).name == MANIFEST else ():
                if path in models or LICENCE.match(Path(part).name):
                    expect(part, about["sha256"], action)
                else:
                    described[part] = Described(about["sha256"], about.get("bytes"), path)
        for path in action.given:
            described[path] = Described(action.record.inputs[path], None)
        files.add_log(action.record.log)
        files.add_log(action.record.benchmark)
    return described


def resolved(settings: Archive) -> dict[str, Any]:
    """The whole configuration as JSON holds it, with its splits in their order."""
    configuration = settings.configuration.model_dump(mode="json")
    for corpus, names in settings.splits.items():
        splits = configuration["corpora"][corpus]["splits"]
        configuration["corpora"][corpus]["splits"] = {name: splits[name] for name in names}
    return configuration


def _public_words(settings: Archive, actions: Iterable[Action], code: Path) -> set[str]:
    """What an account or a machine may be called by accident: words of the code, names of results
    and of public repositories, and those of the authors."""
    texts = [(code / n).read_text("utf-8") for n in code_files(code) if n.endswith((".py", ".smk"))]
    texts += [path for action in actions for path in (action.path, *action.record.outputs)]
    configuration = settings.configuration
    texts += [model.hub for model in configuration.models.values() if model.hub]
    texts += [dataset.hub for dataset in configuration.datasets.values() if dataset.hub]
    texts += [author.model_dump_json() for author in settings.archive.authors]
    return {word for text in texts for word in re.findall(r"\w+|[\w.-]+", text)}


def _content(data: bytes) -> Content:
    return Content(Described(hashlib.sha256(data).hexdigest(), len(data)), data)


def _write_zip(contents: Mapping[str, Content], target: Path) -> None:
    """Write the crate, sorted by path: the same files always give the same bytes. It appears by
    rename."""
    with appearing(target) as partial, zipfile.ZipFile(partial, "w") as archive:
        for path in sorted(contents):
            entry = zipfile.ZipInfo(path, FIRST_DAY)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr, entry.create_system = READABLE, UNIX
            is_large = (contents[path].about.size or 0) >= ZIP64_BYTES
            file = archive.open(entry, "w", force_zip64=is_large)
            with contents[path].open() as source, file:
                shutil.copyfileobj(source, file, 1 << 20)
