"""A small workflow that has finished: made up, and complete, with the digests of what lies
there."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from bld.config.checks import read_settings
from bld.pipeline.code_digest import code_digest, code_modules
from bld.pipeline.step import parse_step
from bld.pipeline.step_settings import Archive
from bld.publishing.crate import write_crate

PROJECT = Path(__file__).parents[3]
CODE = ["Snakefile", "LICENSE", "CITATION.cff", "README.md", "Makefile", "envs/report.yaml"]


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


class MadeUp:
    """A working folder and the code beside it. `build` does all; its parts can be done again after
    an edit."""

    def __init__(self, folder):
        self.folder, self.code = folder / "work", folder / "code"
        self.minute = 0
        self.configuration = yaml.safe_load((PROJECT / "config/config.yaml").read_text())

    def write(self, path, content):
        """A file of the working folder: bytes, a text, or what becomes JSON."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(content, bytes | str):
            content = json.dumps(content, sort_keys=True, indent=2) + "\n"
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def manifest(self, folder, files, **about):
        """A folder of files with its manifest, which is returned."""
        for name, content in files.items():
            self.write(f"{folder}/{name}", content)
        told = {
            name: {
                "bytes": (self.folder / folder / name).stat().st_size,
                "sha256": digest(self.folder / folder / name),
            }
            for name in files
        }
        return self.write(f"{folder}/manifest.json", {"files": told, **about})

    def documents(self, folder, count, **about):
        """A split of documents with its manifest, which is returned."""
        shards = []
        for number in range(count):
            name = f"{number:05d}-of-{count:05d}"
            path = self.write(f"{folder}/{name}.parquet", f"PAR1 {folder} {name}")
            shards.append({"name": name, "sha256": digest(self.folder / path)})
        return self.write(f"{folder}/manifest.json", {"shards": shards, **about})

    def record(self, stage, inputs, outputs, name=None, settings=None, **about):
        """What `stage` left: its record beside its first output, its log and its benchmark; the
        record's path is returned."""
        path = str(Path(outputs[0]).with_suffix(".record.json"))
        log = f"logs/{stage}/{name}.log" if name else f"logs/{stage}.log"
        self.write(log, f"{stage} of {name}: done\n")
        benchmark = self.write(log.replace(".log", ".benchmark.jsonl"), {"s": 1.5})
        module, package = f"bld.stages.{stage}", self.code / "workflow/bld"
        settings = settings or {"seed": 0}
        code = code_digest(module, package)
        line = json.dumps(
            {"code": code, "settings": settings}, sort_keys=True, separators=(",", ":")
        )
        start, self.minute = self.minute, self.minute + 1
        record = {
            "format": 1,
            "stage": stage,
            "rule": stage,
            "log": log,
            "benchmark": benchmark,
            "step": {
                "identity": parse_step(line).identity,
                "settings": settings,
                "code": {"digest": code, "modules": code_modules(module, package)},
            },
            "command": ["python", "-m", module, *inputs],
            "inputs": {name: digest(self.folder / name) for name in inputs},
            "outside": [],
            "outputs": {
                name: {
                    "bytes": (self.folder / name).stat().st_size,
                    "sha256": digest(self.folder / name),
                }
                for name in outputs
            },
            "sources": {name: told for name in inputs if (told := self.source(name))},
            "version": {"commit": None, "uncommitted": None},
            "environment": {
                "python": "3.11.2",
                "implementation": "CPython",
                "platform": "Linux-6.1-x86_64",
                "packages": {"numpy": "2.4.6"},
                "conda": None,
                "torch": None,
                "cuda": None,
                "driver": None,
            },
            "seed": settings.get("seed"),
            "world_size": 1,
            "hardware": {
                "host": "Linux x86_64",
                "cpu": "a processor",
                "cores": 2,
                "memory_bytes": 2**33,
                "gpus": [],
            },
            "scheduler": None,
            "attempts": [{"job": None, "started": _time(start)}],
            "started": _time(start),
            "ended": _time(start + 1),
            "seconds": 60.0,
            "gpu_hours": 0.0,
            "peak_memory_bytes": 10**8,
            "peak_gpu_memory_bytes": None,
            "energy_joules": None,
        }
        return self.write(path, record | about)

    def source(self, path):
        """Where the files of a manifest came from and under which licence, as records tell it."""
        if not path.endswith("manifest.json"):
            return None
        told = json.loads((self.folder / path).read_text())
        keys = ("source", "licence")
        return {key: told.get(key) for key in keys} if told.keys() & set(keys) else None

    def make_code(self, stages):
        """The code beside it, a git repository: some of the project's files, and a stub for every
        stage."""
        for name in CODE:
            (self.code / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, self.code / name)
        package = self.code / "workflow/bld"
        (package / "stages").mkdir(parents=True)
        for name in ("__init__", "stages/__init__", *(f"stages/{stage}" for stage in stages)):
            (package / f"{name}.py").write_text(f'"""{name}"""\n\nNAME = "{name}"\n')
        self.commit()

    def commit(self, message="all"):
        """Commit the code as it is; the commit."""
        git = ["git", "-C", str(self.code), "-c", "user.name=Someone", "-c", "user.email=a@b.org"]
        times = {"GIT_AUTHOR_DATE": "2026-01-01T00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00Z"}
        subprocess.run([*git, "init", "--quiet"], check=True)
        subprocess.run([*git, "add", "."], check=True)
        command = [*git, "commit", "--quiet", "--allow-empty", "--message", message]
        subprocess.run(command, check=True, env=_environment() | times)
        return subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()

    def build(self, shards=2):
        """The whole: from documents and models over a byte cache and two runs to a report; the
        report's record is returned."""
        stages = ["build_split", "fetch", "score_teacher", "gather_cache", "prepare_student"]
        self.make_code([*stages, "distill", "evaluate_bits_per_byte", "report"])
        train, held_out, model = self.sources(shards)
        cache = self.cache(train, model, shards)
        student = self.manifest(
            "results/students/swapped", {"model.safetensors": b"student", "config.json": "{}"}
        )
        self.record("prepare_student", [model], [student], "swapped")
        measures = []
        for run in ("sft", "bld"):
            measures += self.run(run, [train, student] + [cache] * (run == "bld"), held_out)
        return self.report(measures)

    def sources(self, shards):
        """Documents to train and judge on, and a fetched model with its licence."""
        train, held_out = (
            self.documents(f"results/corpora/docs/{split}", count, source={"kind": "files"})
            for split, count in (("train", shards), ("validation", 1))
        )
        self.write("data/own.jsonl", '{"text": "a document"}\n')
        for split, manifest in (("train", train), ("validation", held_out)):
            own = ["data/own.jsonl"]
            self.record("build_split", own, [manifest], f"docs/{split}", outside=own)
        files = {"model.safetensors": b"weights", "config.json": "{}", "LICENSE": "Be kind.\n"}
        licence = {"license": "apache-2.0", "files": ["LICENSE"]}
        source = {"hub": "org/teacher", "revision": "0" * 40}
        about = {"source": source, "licence": licence}
        model = self.manifest("resources/models/teacher", files, **about)
        self.record("fetch", [], [model], "teacher")
        return train, held_out, model

    def cache(self, train, model, shards):
        """A byte cache of `shards` shards, each with its record; its manifest is returned."""
        folder, made = "results/teachers/big/docs/train", []
        for number in range(shards):
            name = f"{number:05d}-of-{shards:05d}"
            made.append(self.write(f"{folder}/{name}.parquet", f"PAR1 cache {name}"))
            documents = f"results/corpora/docs/train/{name}.parquet"
            inputs = [train, documents, model]
            self.record("score_teacher", inputs, made[-1:], f"big/docs/train/{name}")
        shard = {
            path: {"name": Path(path).stem, "sha256": digest(self.folder / path)} for path in made
        }
        manifest = self.write(f"{folder}/manifest.json", {"shards": list(shard.values())})
        self.record("gather_cache", [train, *made], [manifest], "big/docs/train")
        return manifest

    def run(self, run, inputs, held_out):
        """A training and what was measured of it; what the report reads is returned."""
        folder = f"results/runs/{run}"
        model = self.manifest(
            f"{folder}/model", {"model.safetensors": f"trained {run}".encode(), "config.json": "{}"}
        )
        metrics = self.write(f"{folder}/metrics.parquet", f"PAR1 losses of {run}")
        training = self.write(f"{folder}/training.json", {"train_seconds": 12.5})
        self.record("distill", inputs, [model, metrics, training], run)
        measure = self.write(f"{folder}/evaluation/bits_per_byte.json", {"bits_per_byte": 2.25})
        self.record("evaluate_bits_per_byte", [model, held_out], [measure], run)
        return [measure, metrics, training, model]

    def report(self, measures):
        """The report of the archive `demo`; its record is returned."""
        folder = "results/archive/demo/report"
        files = {"index.html": "<p>2.25</p>\n", "models.csv": "run,bits\nsft,2.25\nbld,2.25\n"}
        files["summary.json"] = {"runs": [{"run": run} for run in ("sft", "bld")]}
        made = [self.write(f"{folder}/{name}", content) for name, content in files.items()]
        return self.record("report", measures, made, "demo")

    def request(self, **archive):
        """What the rule asks for, of the configuration as it is."""
        settings = read_settings(self.configuration)
        chosen = settings.archives["demo"].model_dump() | {"runs": ["sft", "bld"]}
        splits = {name: list(corpus.splits) for name, corpus in settings.corpora.items()}
        return Archive(
            archive=chosen | archive, configuration=settings, splits=splits, snakemake="9.27.1"
        )

    def archive(self, target="demo.crate.zip", **archive):
        """Write the crate; its path is returned."""
        path = self.folder / target
        report = "results/archive/demo/report/index.record.json"
        self.remarks = write_crate(self.request(**archive), report, path, self.code)
        return path


def _time(minute):
    return f"2026-11-22T{minute // 60 % 24:02d}:{minute % 60:02d}:00Z"


def _environment():
    return dict(os.environ)


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """The finished workflow, in the current folder."""
    workflow = MadeUp(tmp_path)
    workflow.folder.mkdir()
    workflow.build()
    monkeypatch.chdir(workflow.folder)
    return workflow


@pytest.fixture
def make_up(tmp_path, monkeypatch):
    """Makes such a workflow with so many shards of its byte cache."""

    def make(shards):
        workflow = MadeUp(tmp_path)
        workflow.folder.mkdir()
        workflow.build(shards)
        monkeypatch.chdir(workflow.folder)
        return workflow

    return make


@pytest.fixture
def zyxuser(made_up, monkeypatch):
    """Somebody's account, with the working folder inside their home folder."""
    home = made_up.folder.parent
    monkeypatch.setenv("HOME", str(home))
    for name in ("LOGNAME", "USER"):
        monkeypatch.setenv(name, "zyxuser")
    return home
