"""Scoring is killed, and goes on: the shard must be the one of a run that was left alone."""

import fcntl
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import bld
from bld.cache.shards import Origin
from bld.cache.writing import parts_of, score_part, score_shard
from bld.config.settings import Architecture, Scoring
from bld.documents.document import make_document
from bld.documents.shards import write_splits
from bld.files import sha256_of
from bld.folders import new_folder
from bld.pipeline.step import files_line, step_line
from bld.scoring.scorer import Scored
from bld.scoring.token_scores import TokenScores
from bld.symbols import supervised_symbols
from bld.tokenization.scratch import train_tokenizer
from bld.training.scratch import new_model

ORIGIN = Origin("documents", "teacher", "step", {"scoring": {}})
PACKAGE = Path(bld.__file__).parents[1]


def write_documents(folder, documents):
    split = SimpleNamespace(fraction=1.0, shards=1, documents=None)
    write_splits(documents, {"train": folder}, {"train": split}, seed=0)
    return folder / "00000-of-00001.parquet"


def some_documents(count, words):
    draw = random.Random(0)
    text = ["Return", "the", "index", "of", "the", "first", "key", "or", "raise", "an", "error"]
    return [
        make_document(f"{n}", "text", [("text", f"{n} " + " ".join(draw.choices(text, k=words)))])
        for n in range(count)
    ]


class Teacher:
    """Random distributions, the same for the same documents; counts what it scores."""

    def __init__(self, fails_at=None):
        self.scored, self.fails_at = [], fails_at

    def __call__(self, documents):
        return score_part(self.distributions(documents), 0.99, 16)

    def distributions(self, documents):
        for document in documents:
            if document.id == self.fails_at:
                raise KeyboardInterrupt
            self.scored.append(document.id)
            symbols = len(supervised_symbols(document.segments))
            draw = np.random.default_rng(int(document.id))
            log_probs = np.log(draw.dirichlet(np.full(258, 0.1), symbols) + 1e-9)
            log_probs[:, 32] = 0
            log_probs -= np.logaddexp.reduce(log_probs, axis=1, keepdims=True)
            lost, tokens = draw.random(symbols), self.tokens(draw, symbols)
            yield Scored(document, log_probs.astype(np.float32), lost, 1, tokens)

    def tokens(self, draw, symbols):
        """Random rows, one for every second symbol."""
        symbol_U = np.arange(0, symbols, 2, dtype=np.int32)
        log_probs_UK = -draw.random((len(symbol_U), 3), np.float32)
        ids_UK = draw.integers(0, 9, (len(symbol_U), 3), np.int32)
        log_prob_U, log_tail_U = log_probs_UK.T[:2]
        return TokenScores(
            symbol_U, symbol_U, ids_UK[:, 0], log_prob_U, ids_UK, log_probs_UK, log_tail_U
        )


@pytest.fixture
def place(tmp_path):
    """score(teacher, origin) -> the shard, and where things are; parts of three documents."""
    documents = write_documents(tmp_path / "corpus", some_documents(10, 80))
    shard, checkpoints = tmp_path / "cache/shard.parquet", tmp_path / "checkpoints"

    def score(teacher, origin=ORIGIN, shard=shard):
        score_shard(shard, documents, origin, checkpoints, teacher, part_documents=3)
        return shard.read_bytes()

    folder = checkpoints / ORIGIN.fingerprint
    kept = checkpoints.with_name(shard.name)
    return SimpleNamespace(
        score=score, shard=shard, checkpoints=checkpoints, folder=folder, kept=kept
    )


@pytest.fixture
def expected(place, tmp_path):
    shard = place.score(Teacher(), shard=tmp_path / "alone/shard.parquet")
    place.kept.unlink()
    return shard


def interrupt(place, at, origin=ORIGIN):
    with pytest.raises(KeyboardInterrupt):
        place.score(Teacher(fails_at=at), origin)
    assert not place.shard.exists()


@pytest.mark.parametrize("at", [0, 2, 3, 7, 9])
def test_what_is_scored_is_not_scored_again(place, expected, at, capsys):
    interrupt(place, f"{at}")
    teacher = Teacher()
    assert place.score(teacher) == expected
    whole = at - at % 3
    assert teacher.scored == [f"{n}" for n in range(whole, 10)]
    assert f"4 parts, {whole // 3} of them from an interrupted run" in capsys.readouterr().out


def test_nothing_is_left_behind(place, expected):
    interrupt(place, "7")
    interrupt(place, "5", ORIGIN._replace(step="older"))
    place.score(Teacher())
    assert not place.checkpoints.exists()
    assert [path.name for path in place.shard.parent.iterdir()] == ["shard.parquet"]


def test_a_shard_that_was_finished_unseen_is_put_back_and_not_scored_again(place, capsys):
    first = place.score(Teacher())
    assert place.shard.stat().st_nlink == 2  # it takes no room
    place.shard.unlink()
    teacher = Teacher()
    assert place.score(teacher) == first
    assert place.score(teacher) == first
    assert teacher.scored == []
    assert "scored before with the same settings" in capsys.readouterr().out
    assert [path.name for path in place.shard.parent.iterdir()] == ["shard.parquet"]


@pytest.mark.parametrize("change", ["origin", "damage"])
def test_a_kept_shard_of_another_origin_or_that_is_damaged_is_not_used(place, expected, change):
    place.score(Teacher(), ORIGIN._replace(step="older"))
    if change == "damage":
        place.score(Teacher())
        truncate(place.kept)
    teacher = Teacher()
    assert place.score(teacher) == expected
    assert len(teacher.scored) == 10


@pytest.mark.parametrize(
    "other",
    [
        {"documents_sha256": "other"},
        {"teacher_sha256": "other"},
        {"step": "other"},
        {"settings": {"scoring": {"eps": 0}}},
    ],
)
def test_parts_of_another_origin_are_not_used(place, expected, other):
    interrupt(place, "7", ORIGIN._replace(**other))
    teacher = Teacher()
    assert place.score(teacher) == expected
    assert len(teacher.scored) == 10


def truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def empty(path):
    path.write_bytes(b"")


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, empty, flip_a_byte])
def test_a_damaged_part_is_scored_again(place, expected, damage, capsys):
    interrupt(place, "7")
    damage(place.folder / "00001.parquet")
    teacher = Teacher()
    assert place.score(teacher) == expected
    assert teacher.scored == [f"{n}" for n in (3, 4, 5, 6, 7, 8, 9)]
    out = capsys.readouterr().out
    assert "damaged" in out and "00001.parquet" in out and "4 parts, 1 of them from" in out


def test_what_a_dead_writer_left_is_swept_up_but_not_what_is_being_written(place, expected):
    place.shard.parent.mkdir()
    dead, alive = (place.shard.with_name(f"shard.parquet.{n}.partial") for n in (1, 2))
    dead.write_bytes(b"half")
    with open(alive, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert place.score(Teacher()) == expected
        assert not dead.exists() and alive.exists()


def test_another_scorer_of_the_same_shard_does_no_harm(place, expected):
    """The other one begins later, finishes first and sweeps up."""

    class Overtaken(Teacher):
        def __call__(self, documents):
            if documents[0].id == "6":
                assert place.score(Teacher()) == expected
            return super().__call__(documents)

    assert place.score(Overtaken()) == expected
    assert not place.checkpoints.exists()


@pytest.mark.parametrize(("room", "parts"), [(5_000, 0), (50_000, 4)])
def test_a_full_disk_is_named_and_leaves_nothing_half_written(place, expected, room, parts):
    """There is room for the smaller files: for none, or for the parts but not for the shard."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(OSError, match=r"make room and run again, .* kept.*\.parquet'"):
            place.score(Teacher())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    left = [path for path in place.shard.parents[1].rglob("*") if path.is_file()]
    left = [path.name for path in left if path.parent in (place.folder, place.shard.parent)]
    assert sorted(left) == [f"{number:05d}.parquet" for number in range(parts)]
    teacher = Teacher()
    assert place.score(teacher) == expected
    assert len(teacher.scored) == (0 if parts else 10)


def test_a_part_is_some_documents_and_not_many_bytes():
    def sizes(*lengths):
        documents = [make_document("x", "text", [("text", "a" * n)]) for n in lengths]
        return [[len(d.content) for d in part] for part in parts_of(documents)]

    quarter = 64 << 10
    assert sizes(*[1] * 300) == [[1] * 128, [1] * 128, [1] * 44]
    assert sizes(*[quarter] * 9) == [[quarter] * 4, [quarter] * 4, [quarter]]
    assert sizes(1, 10 * quarter, 1, 1) == [[1, 10 * quarter], [1, 1]]
    assert sizes() == []


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """What scores a shard of 1,280 documents in ten parts with a tiny model."""
    folder = tmp_path_factory.mktemp("inputs")
    tokenizer = train_tokenizer(["Return the index of the first key"] * 9, "bytes", 300, "chatml")
    shape = Architecture(hidden=32, layers=2, heads=2, intermediate=64, positions=256)
    with new_folder(folder / "teacher", {}) as teacher:
        new_model(shape, tokenizer, 1).save_pretrained(teacher)
        tokenizer.save_pretrained(teacher)
    reading = {"template": "plain", "template_arguments": {}, "end_tokens": []}
    reading["trust_remote_code"] = False
    settings = {"scoring": Scoring(top_k_tokens=4).model_dump(), "rendering": reading}
    return {
        "step": step_line("bld.stages.score_teacher", settings),
        "documents": write_documents(folder / "corpus", some_documents(1280, 6)),
        "teacher": [folder / "teacher/manifest.json"],
    }


@pytest.fixture(scope="module")
def alone(inputs, tmp_path_factory):
    """Digest of the shard of a run that is left alone, and how long it scores."""
    job = Job(inputs, tmp_path_factory.mktemp("alone"))
    process, began = job.start(), time.monotonic()
    return job.finish(process), time.monotonic() - began


class Job:
    """Processes that score one shard."""

    def __init__(self, inputs, folder):
        self.shard = folder / "cache/00000-of-00001.parquet"
        self.checkpoints = folder / "parts/00000-of-00001"
        self.log = folder / "log"
        named = {name: inputs[name] for name in ("documents", "teacher")}
        files = files_line(named, {"shard": self.shard})
        flags = ["--step", inputs["step"], "--files", files, "--checkpoints", str(folder / "parts")]
        self.command = [sys.executable, "-m", "bld.stages.score_teacher", *flags]

    def launch(self):
        environment = os.environ | {"PYTHONPATH": str(PACKAGE), "OMP_NUM_THREADS": "1"}
        with open(self.log, "w") as log:
            return subprocess.Popen(self.command, env=environment, stdout=log, stderr=log)

    def start(self):
        """A process that has loaded its teacher and is about to score."""
        process = self.launch()
        while process.poll() is None and "score:" not in self.log.read_text():
            time.sleep(0.02)
        return process

    def finish(self, process):
        assert process.wait() == 0, self.log.read_text()
        assert not self.checkpoints.exists()
        assert [path.name for path in self.shard.parent.iterdir()] == [self.shard.name]
        return sha256_of(self.shard)

    def reused(self):
        log = self.log.read_text()
        if "scored before" in log:  # the one before was killed after its work was done
            return 10
        return int(re.search(r"10 parts, (\d+) of them", log)[1])


def kill_at_random_moments(job, kills, seed, expected, seconds):
    """Returns how many parts each run that was let finish took over from those before it."""
    draw, reused = random.Random(seed), []
    while kills:
        process = job.start()
        try:
            process.wait(draw.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills -= 1
            assert not job.shard.exists() or sha256_of(job.shard) == expected
        else:
            assert job.finish(process) == expected
            reused.append(job.reused())
            job.shard.unlink()
            job.checkpoints.with_name(job.shard.name).unlink()
    assert job.finish(job.start()) == expected
    return [*reused, job.reused()]


def test_a_run_that_is_killed_three_times_ends_in_the_same_bytes(inputs, alone, tmp_path):
    kill_at_random_moments(Job(inputs, tmp_path), 3, 1, *alone)


@pytest.mark.long
def test_a_run_that_is_killed_twenty_times_ends_in_the_same_bytes(inputs, alone, tmp_path):
    assert max(kill_at_random_moments(Job(inputs, tmp_path), 20, 2, *alone)) > 0


def test_a_job_of_several_shards_goes_on_with_the_shard_that_it_was_at(inputs, tmp_path):
    corpus, names = tmp_path / "corpus", [f"0000{number}-of-00003" for number in range(3)]
    split = SimpleNamespace(fraction=1.0, shards=3, documents=None)
    write_splits(some_documents(900, 6), {"train": corpus}, {"train": split}, seed=0)
    of_these = {**inputs, "documents": corpus / "manifest.json"}

    def job(where, shards):
        made = Job(of_these, tmp_path / where)
        paths = [made.shard.with_name(f"{name}.parquet") for name in shards]
        records = [str(path.with_suffix(".record.json")) for path in paths]
        named = {name: of_these[name] for name in ("documents", "teacher")}
        files = files_line(named, {"shard": paths, "record": records})
        made.command[made.command.index("--files") + 1] = files
        return made, paths

    def was_killed(process, until):
        while process.poll() is None and not until():
            time.sleep(0.01)
        process.kill()
        return process.wait() == -signal.SIGKILL

    for where in ("one", "three"):
        (tmp_path / where).mkdir()
    one, alone = job("one", names[1:2])
    assert one.launch().wait() == 0, one.log.read_text()
    three, paths = job("three", names)
    parts = three.checkpoints.with_name(names[1])
    assert was_killed(three.launch(), lambda: len(list(parts.rglob("*.parquet"))) > 0)
    # As Snakemake does after a job that failed.
    for path in paths:
        path.unlink(missing_ok=True)
        path.with_suffix(".record.json").unlink(missing_ok=True)
    assert three.launch().wait() == 0
    log = three.log.read_text()
    assert sha256_of(paths[1]) == sha256_of(alone[0])
    assert log.count("scored before") == 1 and log.count("0 of them from an interrupted run") == 1
    records = [json.loads(path.with_suffix(".record.json").read_text()) for path in paths]
    assert [[*record["outputs"]] for record in records] == [[str(path)] for path in paths]
    assert [len(record["attempts"]) for record in records] == [2, 2, 1]


def test_two_scorers_of_one_shard_at_once_do_no_harm(inputs, alone, tmp_path):
    job = Job(inputs, tmp_path)
    first, second = job.launch(), job.launch()
    assert first.wait() == 0, job.log.read_text()
    assert job.finish(second) == alone[0]
