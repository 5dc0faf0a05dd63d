"""A crate as the workflow writes it, of the smallest results that make a report, and how to alter
it."""

import hashlib
import json
import shutil
import subprocess
import zipfile
from contextlib import chdir
from pathlib import Path

import pandas as pd
import pytest

from bld.config.settings import Settings
from bld.files import sha256_of, write_json
from bld.pipeline.record import Recorder
from bld.pipeline.step import files_line, parse_step, step_line
from bld.pipeline.step_settings import Archive
from bld.publishing.crate import write_crate
from bld.publishing.verify import verify
from bld.stages import report

PROJECT = Path(__file__).parents[4]
METADATA = "ro-crate-metadata.json"
RUN = "results/runs/sft"
REPORT = "results/archive/demo/report"
DOCUMENTS, STUDENT = (
    "results/corpora/docs/train/manifest.json",
    "results/students/small/manifest.json",
)
MODEL = f"{RUN}/model/manifest.json"
BITS, BITS_BEFORE = (
    f"{RUN}/evaluation/bits_per_byte.json",
    "results/evaluation/students/small/bits_per_byte.json",
)
REPORTED = f"{REPORT}/index.record.json"
CONFIGURATION = {
    "corpora": {
        "docs": {
            "source": {"kind": "files", "format": "jsonl", "paths": ["own.jsonl"]},
            "splits": {"train": {"fraction": 0.5}, "validation": {"fraction": 0.5}},
        }
    },
    "models": {"tiny": {"path": "/opt/models/tiny"}},
    "students": {"small": {"model": "tiny"}},
    "runs": {"sft": {"method": "sft", "student": "small", "corpus": "docs"}},
    "archives": {"demo": {"title": "Small"}},
}


class Small:
    """The smallest working folder with a report: one run, evaluated before and after."""

    def __init__(self, code, monkeypatch):
        self.monkeypatch = monkeypatch
        self.code = code
        skipped = shutil.ignore_patterns("__pycache__")
        for name in ("Snakefile", "CITATION.cff", "LICENSE"):
            shutil.copy(PROJECT / name, code / name)
        shutil.copytree(PROJECT / "workflow/bld", code / "workflow/bld", ignore=skipped)
        git = ["git", "-C", str(code), "-c", "user.name=Someone", "-c", "user.email=a@b.org"]
        for command in (
            ["init", "-q"],
            ["add", "."],
            ["commit", "-qm", "all"],
            ["rev-parse", "HEAD"],
        ):
            done = subprocess.run([*git, *command], check=True, capture_output=True, text=True)
        self.commit = done.stdout.strip()

    def record(self, stage, inputs, outputs):
        """The record of a step that read and made these files."""
        step = step_line(f"bld.stages.{stage}", {"seed": 0})
        path = Path(outputs[0]).with_suffix(".record.json")
        self.monkeypatch.setattr("sys.argv", [f"{stage}.py", "--step", step])
        files = [Path(name) for name in inputs], [Path(name) for name in outputs]
        Recorder(path, stage, parse_step(step), self.log(stage, path), *files).write()
        self.as_committed(path)

    def log(self, stage, path):
        log = Path(f"logs/{stage}/{path.parent.name}.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("done\n")
        return log

    def as_committed(self, path):
        """Say in a record that the code of the crate ran."""
        told = json.loads(path.read_text())
        version = {"commit": self.commit, "uncommitted": None}
        write_json(path, told | {"version": version, "benchmark": None})

    def build(self):
        """All of it; the report's record."""
        write_json(DOCUMENTS, {"shards": [{"name": "00000-of-00001", "sha256": "ab" * 32}]})
        self.record("build_split", ["own.jsonl"], [DOCUMENTS])
        weights = {"model.safetensors": {"bytes": 5, "sha256": "cd" * 32}}
        write_json(STUDENT, {"files": weights})
        self.record("prepare_student", [], [STUDENT])
        write_json(MODEL, {"files": weights})
        write_json(
            f"{RUN}/training.json", {"train_seconds": 12.5, "train_tokens": 600, "gpu_hours": 0}
        )
        steps = [{"phase": "distill", "step": at, "token_loss": 4 - at / 9} for at in range(1, 21)]
        pd.DataFrame(steps).to_parquet(f"{RUN}/metrics.parquet")
        trained = [MODEL, f"{RUN}/metrics.parquet", f"{RUN}/training.json"]
        self.record("prepare_student", [DOCUMENTS, STUDENT], trained)
        for path, model, nats in ((BITS, MODEL, 90.0), (BITS_BEFORE, STUDENT, 120.0)):
            rows = [
                {"id": f"{at}", "kind": "text", "group": f"{at}", "nats": nats + at, "bytes": 50}
                for at in range(6)
            ]
            bits = {
                "bits_per_byte": nats / 35,
                "per_document": rows,
                "model_sha256": sha256_of(model),
            }
            write_json(path, bits)
            self.record("evaluate_bits_per_byte", [DOCUMENTS, model], [path])
        files = {"metrics": trained[1], "training": trained[2], "model": MODEL}
        files |= {"run/bits_per_byte": BITS, "student/bits_per_byte": BITS_BEFORE}
        run = Settings.model_validate(CONFIGURATION).runs["sft"]
        changed = run.own(exclude_defaults=True)
        told = {"settings": run.own(), "changed": changed, "files": files}
        figures = ["bits_per_byte", "loss"]
        settings = {"title": "Small", "runs": {"sft": told}, "splits": {}, "caches": []}
        settings["figures"] = figures
        step, path = step_line("bld.stages.report", settings), Path(REPORTED)
        made = files_line({}, {"page": f"{REPORT}/index.html", "record": REPORTED})
        command = ["report.py", "--step", step, "--files", made]
        self.monkeypatch.setattr("sys.argv", [*command, "--log", str(self.log("report", path))])
        report.main()
        self.as_committed(path)
        return REPORTED

    def archive(self, target, record):
        configuration = Settings.model_validate(CONFIGURATION)
        settings = Archive(
            archive=configuration.archives["demo"],
            configuration=configuration,
            splits={"docs": ["train", "validation"]},
            snakemake="9.27.1",
        )
        write_crate(settings, record, target, self.code)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A crate as the workflow writes it."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "code").mkdir()
    (folder / "work").mkdir()
    with pytest.MonkeyPatch.context() as monkeypatch, chdir(folder / "work"):
        Path("own.jsonl").write_text('{"text": "a document"}\n')
        small = Small(folder / "code", monkeypatch)
        small.archive(folder / "good.crate.zip", small.build())
    return folder / "good.crate.zip"


class Forgery:
    """A crate that is being altered: `files` by name, and the graph of the metadata by id."""

    def __init__(self, crate):
        with zipfile.ZipFile(crate) as archive:
            self.files = {name: archive.read(name) for name in archive.namelist()}
        self.metadata = json.loads(self.files.pop(METADATA))
        self.graph = {one["@id"]: one for one in self.metadata["@graph"]}

    def put(self, name, content, told=True):
        """Replace a file; `told`: with its size and digest in the metadata."""
        self.files[name] = content
        if told:
            digest = hashlib.sha256(content).hexdigest()
            self.graph[name] |= {"sha256": digest, "contentSize": str(len(content))}

    def replace(self, name, old, new, told=True):
        """Replace a text in a file, everywhere."""
        assert old in self.files[name].decode()
        self.put(name, self.files[name].decode().replace(old, new).encode(), told)

    def record(self, name, edit):
        """Edit a record, and tell its digest in the metadata."""
        record = json.loads(self.files[name])
        edit(record)
        self.put(name, json.dumps(record).encode())

    def swap(self, name, content):
        """Replace a result, with its digest wherever it stands: in metadata, records and
        manifests."""
        old = hashlib.sha256(self.files[name]).hexdigest()
        self.put(name, content)
        new = hashlib.sha256(content).hexdigest()
        for other in [other for other in self.files if other.endswith(".record.json")]:
            if old in self.files[other].decode():
                self.replace(other, old, new)

    def remove(self, *ids):
        """Remove a file with its entity, and the mentions of it."""
        for name in ids:
            self.files.pop(name, None)
            self.graph.pop(name, None)

    def write(self, path):
        self.metadata["@graph"] = list(self.graph.values())
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(METADATA, json.dumps(self.metadata))
            for name, content in self.files.items():
                archive.writestr(name, content)
        return path


@pytest.fixture
def forged(good, tmp_path, monkeypatch):
    """Alters a crate; what is found of it."""

    monkeypatch.setattr("sys.prefix", str(tmp_path))  # where there is no validator

    def forge(alter):
        forgery = Forgery(good)
        alter(forgery)
        return verify(forgery.write(tmp_path / "forged.crate.zip"))

    return forge
