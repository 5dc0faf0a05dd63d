import json
import os

import pytest

from bld.files import sha256_of
from bld.pipeline.record import unchanged

PAST, THEN, LATER = 1_000_000_000, 1_000_000_100, 1_000_000_200


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Two files, and the record of a step that read them at `THEN`."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
        os.utime(name, (PAST, PAST))
    inputs = {name: sha256_of(name) for name in ("a.txt", "b.txt")}
    (tmp_path / "x.record.json").write_text(json.dumps({"inputs": inputs}))
    os.utime("x.record.json", (THEN, THEN))
    return lambda: unchanged(["a.txt", "b.txt"], "x.record.json")


def test_files_that_are_older_than_the_record_are_as_they_were(read):
    assert read() == {"a.txt", "b.txt"}


def test_a_file_that_was_only_touched_is_as_it_was_and_is_digested_once(read, monkeypatch):
    os.utime("a.txt", (LATER, LATER))
    assert read() == {"a.txt", "b.txt"}
    monkeypatch.setattr("bld.pipeline.record.sha256_of", None)
    assert read() == {"a.txt", "b.txt"}


@pytest.mark.parametrize("touched", ["a.txt", None])
def test_an_edit_is_seen_whatever_was_touched_beside_it_and_however_often_one_looks(read, touched):
    if touched:
        os.utime(touched, (LATER, LATER))
    with open("b.txt", "a") as file:
        file.write(" edited")
    os.utime("b.txt", (LATER - 50, LATER - 50))
    for _ in range(3):
        assert read() == {"a.txt"}


def test_an_edit_after_a_look_is_seen(read):
    os.utime("a.txt", (LATER, LATER))
    assert read() == {"a.txt", "b.txt"}
    with open("b.txt", "a") as file:
        file.write(" edited")
    assert read() == {"a.txt"}


def test_without_a_record_nothing_is_known(read):
    os.remove("x.record.json")
    assert read() == set()


def test_a_record_that_cannot_be_dated_is_left_as_it_is(read, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("not yours")

    os.utime("a.txt", (LATER, LATER))
    monkeypatch.setattr("bld.pipeline.record.os.utime", refuse)
    assert read() == {"a.txt", "b.txt"}
