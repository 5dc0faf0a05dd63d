"""Synthetic runs: the files that training and evaluation would leave behind; and pages as trees."""

import hashlib
import json
import math
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from bld.config.settings import Run
from bld.reporting.inputs import CacheInputs, RunInputs
from bld.reporting.registry import all_figures
from bld.reporting.report_page import build_report

KINDS = ("class", "function", "module")
PASSAGE = "na\u00efve \U0001f40d <b>\n"
CACHE = json.loads(Path(__file__).with_name("byte_cache.json").read_text(encoding="utf-8"))
"""What is measured of a byte cache, and of how the tokens of its teacher fit a student's."""


def number_of(*names):
    """A seed that is another for every name and the same in every process."""
    digest = hashlib.sha256("\0".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:4], "big")


class Factory:
    """Writes the input files of reports into a folder.

    A model is known by its name and `level`, its bits per byte; every document has a length and a
    difficulty of its own, which all models share; two documents are a group. `spread` is what is
    left to chance.
    """

    def __init__(self, folder: Path, documents: int = 200) -> None:
        folder.mkdir()
        self.folder = folder
        self.spread = 0.05
        rng = np.random.default_rng(3)
        self.sizes_D = rng.integers(80, 900, documents)
        self.difficulty_D = rng.normal(0, 0.3, documents)

    def run(self, name, method="sft", seed=1, level=2.5, head="linear", **changes):
        """A run with all its files; `changes` are of its settings, or `own` those of its method,
        `scores` of its bits per byte, `costs` of its training and `questions` of its benchmark of
        right answers."""
        settings = {"method": method, "student": "small", "teacher": "large", "corpus": "docs"}
        settings |= {"seed": seed, "bld": {"head": head, "kl_weight": 1.0}}
        settings |= {"training": {"steps": 60, "learning_rate": 5e-4}}
        settings |= {"sampling": {"on_policy": 0.0, "temperature": 1.0}}
        if "own" in changes:
            settings[method] = settings.get(method, {}) | changes["own"]
        settings |= {key: value for key, value in changes.items() if key in settings}
        student, teacher, corpus = settings["student"], settings["teacher"], settings["corpus"]
        # Names may be hostile, which the configuration refuses.
        names = {"student": student, "teacher": teacher, "corpus": corpus}
        run = Run.model_validate(settings | dict.fromkeys(names, "a")).model_copy(update=names)
        manifest = self.write(f"{name}.manifest", {"model": name})
        stamp = {"model_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest()}
        taught = method == "bld"
        files = {
            "metrics": self.metrics(name, 20 if taught else 0, taught, method),
            "training": self.training(name, method, **changes.get("costs", {})),
            "model": manifest,
            **self.evaluated("run", name, corpus, level, stamp, head if taught else None, changes),
            **self.evaluated("student", student, corpus, 3.0),
        }
        if teacher:
            files |= self.evaluated("teacher", teacher, corpus, 2.2)
            files["alignment"] = self.write(f"{student} {teacher} {corpus}", CACHE["alignment"])
        else:
            files = {key: path for key, path in files.items() if "divergence" not in key}
        return RunInputs(name, run, files, {"training": settings["training"]})

    def evaluated(self, whose, name, corpus, level, stamp=None, head=None, changes=None):
        """All that is found of a model."""
        changes = changes or {}
        found = {
            "bits_per_byte": self.scores(name, level, **changes.get("scores", {})),
            "byte_divergence": self.divergence(name, level, head),
            "text": self.text(name, level),
            "recall": self.recall(name, changes.get("questions", level)),
            "prose": self.prose(name, level),
        }
        if whose == "teacher":
            del found["byte_divergence"]
        place, stamp = f"{whose}.{name}.{corpus}", stamp or {}
        return {
            f"{whose}/{task}": self.write(f"{place}.{task}", figures | stamp)
            for task, figures in found.items()
        }

    def bits(self, name, level, spread=None):
        """Bits per byte of every document."""
        spread = self.spread if spread is None else spread
        noise_D = np.random.default_rng(number_of(name)).normal(0, spread, len(self.sizes_D))
        return level + self.difficulty_D + noise_D

    def scores(self, name, level, spread=None, ids=None, sizes=None):
        sizes_D = self.sizes_D if sizes is None else sizes
        nats_D = self.bits(name, level, spread) * sizes_D * math.log(2)
        ids = ids or [f"doc-{index:03d}" for index in range(len(sizes_D))]
        return {
            "task": "bits_per_byte",
            "bits_per_byte": float(nats_D.sum() / sizes_D.sum() / math.log(2)),
            "bytes": int(sizes_D.sum()),
            "documents": len(sizes_D),
            "end_nats": 12.5,
            "by_kind": {},
            "per_document": [
                {"id": one, "kind": KINDS[index % 3], "group": f"group-{index // 2:02d}"}
                | {"nats": float(nats), "bytes": int(size)}
                for index, (one, nats, size) in enumerate(zip(ids, nats_D, sizes_D, strict=True))
            ],
        }

    def divergence(self, name, level, head=None):
        """Sums over half of the documents, and all that follows from them."""
        rows = []
        for index, bits in enumerate(self.bits(f"jsd {name}", level)[::2]):
            size = int(self.sizes_D[2 * index])
            rows.append(
                {
                    "id": f"doc-{2 * index:03d}",
                    "kind": KINDS[index % 3],
                    "group": f"group-{index:02d}",
                    "symbols": size + 1,
                    "bytes": size,
                    "jsd": float(0.02 * bits * size),
                    "kl": float(0.1 * bits * size),
                    "nats": {"teacher": 1.6 * size, "student": float(0.7 * bits * size)},
                }
            )
        kinds = {kind: [row for row in rows if row["kind"] == kind] for kind in KINDS}
        whole = self.summed(rows)
        positions = [{"position": at, **whole, "jsd": 0.05 / at} for at in range(1, 12)]
        no_bits, sure = {"teacher": None, "student": None}, {"teacher": 0.9, "student": level / 4}
        end = {"position": "end", "symbols": 20, "bytes": 0, "jsd": 0.01, "kl": None}
        seen = {"symbols": 9000, "bytes": 8990, "jsd": 0.07, "kl": 0.4, "bits_per_byte": 2.9}
        of_head = {
            **seen,
            "share": 0.9,
            "end_nats": 3.0,
            **self.calibration(0.6),
            "student_same": {"jsd": 0.05, "bits_per_byte": 2.5},
            "by_position": [{"position": 1, **seen}],
        }
        return {
            "task": "byte_divergence",
            "documents": len(rows),
            **whole,
            "models": {
                who: {"bits_per_byte": bits, "end_nats": 2.0, **self.calibration(sure[who])}
                for who, bits in whole["bits_per_byte"].items()
            },
            "by_kind": {kind: self.summed(found) for kind, found in kinds.items() if found},
            "by_position": [*positions, end | {"bits_per_byte": no_bits}],
            "per_document": rows,
            "head": of_head if head else None,
            "policy": {"histories": "prefix", "eps": 0.001},
        }

    def summed(self, rows):
        symbols, sizes = (sum(row[name] for row in rows) for name in ("symbols", "bytes"))
        return {
            "symbols": symbols,
            "bytes": sizes,
            "jsd": sum(row["jsd"] for row in rows) / symbols,
            "kl": sum(row["kl"] for row in rows) / symbols,
            "bits_per_byte": {
                who: sum(row["nats"][who] for row in rows) / sizes / math.log(2)
                for who in ("teacher", "student")
            },
        }

    def calibration(self, sure):
        bins = [
            {"low": 0.1 * at, "high": 0.1 * (at + 1), "symbols": 100 + at}
            | {"confidence": 0.1 * at + 0.05, "accuracy": sure * (0.1 * at + 0.05)}
            for at in range(10)
        ]
        gaps = sum(one["symbols"] * abs(one["confidence"] - one["accuracy"]) for one in bins)
        error = gaps / sum(one["symbols"] for one in bins)
        return {"calibration": bins, "calibration_error": error}

    def text(self, name, level):
        """Every byte costs the level, and each a little more than the one before."""
        bits = [level / 4 + place / 10 for place in range(len(PASSAGE.encode()))]
        return {
            "task": "text",
            "completions": [
                {"prompt": prompt, "completion": f"{name} on {prompt}", "ended": prompt == "one"}
                for prompt in ("one", "two")
            ],
            "passage": {"id": "doc-001", "kind": "class", "text": PASSAGE, "bits": bits},
        }

    def recall(self, name, level):
        """A benchmark of right answers: fewer bits per byte give more of them."""
        chances_D = np.random.default_rng(number_of("question")).random(120)
        right_D = (chances_D < (4 - level) / 2).astype(float)
        rows = [
            {"id": f"recall:{at}", "group": f"recall:{at}", "value": float(one)}
            for at, one in enumerate(right_D)
        ]
        error = float(right_D.std(ddof=1) / math.sqrt(len(right_D)))
        return self.benchmark("recall", "acc", float(right_D.mean()), error, True, rows)

    def prose(self, name, level):
        """A benchmark in bits per byte."""
        bits_D = self.bits(f"prose {name}", level)
        rows = [
            {"id": f"prose:{at}", "group": f"group-{at // 2:02d}"}
            | {"value": float(bits * math.log(2) * size), "bytes": int(size)}
            for at, (bits, size) in enumerate(zip(bits_D, self.sizes_D, strict=True))
        ]
        value = float((bits_D * self.sizes_D).sum() / self.sizes_D.sum())
        return self.benchmark("prose", "bits_per_byte", value, 0.04, False, rows)

    def benchmark(self, name, metric, value, error, higher, rows):
        numbers = {metric: value, f"{metric}_stderr": error}
        return {
            "task": name,
            "metric": metric,
            "value": value,
            "stderr": error,
            "higher_is_better": higher,
            "metrics": numbers,
            "documents": len(rows),
            "per_document": rows,
            "subtasks": {name: numbers},
            "few_shot": 3,
            "chat_template": False,
            "limit": None,
            "harness": {"lm_eval": "0.4.9", "versions": {name: "1"}, "task_hashes": {}},
        }

    def training(self, name, method, **figures):
        plain = method == "sft"
        costs = {
            "train_seconds": 20.0 if plain else 45.0,
            **{"train_tokens": 61000, "tokens_per_second": 3050.0, "gpu_hours": 0.25},
            **{"steps": 60, "parameters": 1000, "head_parameters": 0 if plain else 5200},
            **{"world_size": 1, "device": "cpu"},
            "peak_memory_bytes": 2**30 if plain else 3 * 2**29,
        }
        return self.write(f"{name}.training", costs | figures)

    def metrics(self, name, warmup, taught, method, steps=60, development=(2.7, 2.6, 2.55)):
        """Losses of every step, and development evaluations, the last at the last step."""
        rows = [
            {"phase": "warmup", "step": step, "byte_loss": 4.0 - step / 20}
            for step in range(1, warmup + 1)
        ]
        at = {
            steps * (place + 1) // len(development): bits for place, bits in enumerate(development)
        }
        rows += [
            {
                "phase": "distill",
                "step": warmup + step,
                "token_loss": 4.0 + (-1) ** step - step / 60,
                "byte_loss": 6.0 - step / 60 if taught else None,
                "kl_loss": 2.0 - step / 60 if taught else None,
                "teacher_loss": None if taught or method == "sft" else 1 / step,
                "dev_bits_per_byte": at.get(step),
            }
            for step in range(1, steps + 1)
        ]
        frame = pd.DataFrame(rows).assign(tokens=1000, seconds=0.3)
        path = self.path(f"{name}.metrics", "parquet")
        frame.to_parquet(path)
        return path

    def cache(self, teacher="large", audit=None, information=None):
        """A byte cache; `audit` and `information` replace some of its figures."""
        files = {
            "audit": self.write(f"{teacher}.audit", CACHE["audit"] | (audit or {})),
            "information": self.write(
                f"{teacher}.inform", CACHE["information"] | (information or {})
            ),
        }
        return CacheInputs(teacher, "docs", "train", files)

    def edit(self, path, **figures):
        """Replace some figures of a file."""
        path.write_text(json.dumps(json.loads(path.read_text()) | figures), encoding="utf-8")

    def path(self, name, ending="json"):
        """Names may be hostile, so files have numbers."""
        return self.folder / f"{number_of(name)}.{ending}"

    def write(self, name, content):
        path = self.path(name)
        path.write_text(json.dumps(content), encoding="utf-8")
        return path


class Page(HTMLParser):
    """A page as a tree; fails on a tag that is not closed where it should be."""

    EMPTY = ("meta", "link", "br", "hr", "img", "input")

    def __init__(self, folder):
        super().__init__()
        self._open, self._tree = [], ElementTree.TreeBuilder()
        self.folder = folder
        self.source = (folder / "index.html").read_text(encoding="utf-8")
        self.feed(self.source.strip())
        self.close()
        assert self._open == []
        self.root = self._tree.close()

    def handle_starttag(self, tag, attributes):
        self._tree.start(tag, {name: value or "" for name, value in attributes})
        self._open.append(tag)
        if tag in self.EMPTY:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        self._tree.end(tag)

    def handle_data(self, data):
        if self._open:
            self._tree.data(data)

    def all(self, *tags):
        return [element for element in self.root.iter() if element.tag in tags]

    def by_class(self, name):
        return [one for one in self.root.iter() if name in one.get("class", "").split()]

    def words(self, element=None):
        """The text of the body, or of an element of it, with single spaces."""
        element = self.root.find("body") if element is None else element
        return " ".join("".join(element.itertext()).split())

    def table(self, name):
        """The rows of a table, cells as text."""
        for table in self.all("table"):
            if table.get("id") == f"table-{name}":
                rows = table.find("tbody").findall("tr")
                return [[self.words(cell) for cell in row] for row in rows]
        return []

    def answers(self):
        """The short answers and the sentences behind them, by question."""
        return {
            self.words(one.find("h3")): (
                self.words(one.findall("p")[0]),
                [self.words(sentence) for sentence in one.findall("p")[1:]],
            )
            for one in self.all("article")
        }

    def notes(self):
        """What stands under failures and warnings."""
        return [self.words(item) for ul in self.by_class("notes") for item in ul]


@pytest.fixture
def factory(tmp_path):
    return Factory(tmp_path / "inputs")


@pytest.fixture
def build(tmp_path):
    """Builds the report of runs and reads its page; without figures, which take seconds."""

    def built(*runs, caches=(), title="A title", figures=(), **more):
        build_report(runs, caches, list(figures), title, tmp_path / "report", **more)
        return Page(tmp_path / "report")

    return built


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A report with everything on it: its page, the runs and the factory that made them."""
    factory = Factory(tmp_path_factory.mktemp("whole") / "inputs")
    runs = [
        factory.run("sft-1", level=2.5),
        factory.run("sft-2", seed=2, level=2.52),
        factory.run("bld-1", "bld", level=2.4, head="linear"),
        factory.run("bld-2", "bld", seed=2, level=2.46, head="linear"),
        factory.run("none-1", "bld", level=2.51, head="marginal"),
        factory.run("one-1", "one_to_one", level=2.44),
    ]
    caches = [factory.cache(), factory.cache("larger")]
    output = tmp_path_factory.mktemp("whole") / "report"
    build_report(runs, caches, list(all_figures()), "Byte-level distillation", output)
    page = Page(output)
    page.runs, page.caches = runs, caches
    return page
