import argparse
import hashlib
import json

import pytest

from bld.files import appearing
from bld.folders import hard_link, link_files, new_folder, whole_folder


@pytest.fixture
def folder(tmp_path):
    """A folder with two files."""
    with new_folder(tmp_path / "model", {"made": "here"}) as partial:
        (partial / "weights").write_bytes(b"weights")
        (partial / "deep").mkdir()
        (partial / "deep" / "file").write_bytes(b"deep")
    return tmp_path / "model"


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("leftover", [None, "file", "folder"])
def test_a_file_appears_whole_or_not_at_all(tmp_path, leftover):
    path, left = tmp_path / "deep" / "file", tmp_path / "deep" / ".file.partial"
    if leftover:
        left.mkdir(parents=True) if leftover == "folder" else (tmp_path / "deep").mkdir()
        if leftover == "file":
            left.write_text("half")
    with appearing(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    with pytest.raises(RuntimeError), appearing(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_hard_link_takes_the_place_of_what_was_there_even_of_itself(folder, tmp_path):
    for _ in range(2):
        hard_link(folder / "weights", tmp_path / "link")
        hard_link(folder, tmp_path / "copy")
    assert (tmp_path / "link").samefile(folder / "weights")
    assert contents(tmp_path / "copy") == contents(folder)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "link", "copy"}


def test_a_new_folder_has_its_files_and_a_manifest_with_their_sizes_and_digests(folder):
    assert contents(folder).keys() == {"weights", "deep/file", "manifest.json"}
    assert json.loads((folder / "manifest.json").read_text()) == {
        "made": "here",
        "files": {
            "weights": {"bytes": 7, "sha256": hashlib.sha256(b"weights").hexdigest()},
            "deep/file": {"bytes": 4, "sha256": hashlib.sha256(b"deep").hexdigest()},
        },
    }
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_folder_is_not_there_until_its_block_ends(tmp_path):
    with new_folder(tmp_path / "model", {}) as partial:
        (partial / "weights").write_bytes(b"weights")
        assert not (tmp_path / "model").exists()
    assert (tmp_path / "model" / "weights").exists()


def test_an_error_leaves_the_old_folder_as_it_was(folder):
    before = contents(folder)
    with pytest.raises(RuntimeError, match="out of memory"), new_folder(folder, {}) as partial:
        (partial / "weights").write_bytes(b"half")
        raise RuntimeError("out of memory")
    assert contents(folder) == before


def test_a_new_folder_takes_the_place_of_the_old_one_and_of_what_a_killed_step_left(folder):
    left = folder.with_name(".model.partial")
    left.mkdir()
    (left / "half").write_bytes(b"half")
    with new_folder(folder, {}) as partial:
        (partial / "weights").write_bytes(b"better")
    assert contents(folder).keys() == {"weights", "manifest.json"}
    assert (folder / "weights").read_bytes() == b"better"


def test_files_can_be_read_by_colleagues(tmp_path):
    with new_folder(tmp_path / "model", {}) as partial:
        (partial / "weights").write_bytes(b"weights")
        (partial / "weights").chmod(0o600)
    assert (tmp_path / "model" / "weights").stat().st_mode & 0o777 == 0o644


def test_a_whole_folder_is_found_by_its_manifest(folder):
    assert whole_folder(str(folder / "manifest.json")) == folder


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "deep/file").unlink(), r"deep/file: expected 4 bytes.*found no such file"),
        (lambda f: (f / "weights").write_bytes(b"w"), r"weights: expected 7 bytes.*found 1 bytes"),
        (lambda f: (f / "manifest.json").unlink(), r"model/manifest\.json: no such manifest"),
        (lambda f: (f / "manifest.json").write_text("{"), r"model/manifest\.json: .* must be JSON"),
        (lambda f: (f / "manifest.json").write_text("{}"), r"\.json: expected the manifest"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused_on_the_command_line_too(
    folder, capsys, damage, message
):
    damage(folder)
    with pytest.raises(ValueError, match=message):
        whole_folder(folder / "manifest.json")
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=whole_folder)
    with pytest.raises(SystemExit):
        parser.parse_args(["--model", str(folder / "manifest.json")])
    assert str(folder) in capsys.readouterr().err


def test_links_inside_the_working_folder_are_relative_and_survive_its_move(
    folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with new_folder(tmp_path / "results" / "student", {}) as partial:
        link_files(folder, partial)
    links = [p for p in (tmp_path / "results" / "student").rglob("*") if p.is_symlink()]
    assert sorted(p.name for p in links) == ["file", "weights"]
    assert not any(p.readlink().is_absolute() for p in links)
    moved = tmp_path.rename(tmp_path.with_name(tmp_path.name + "-moved"))
    student = whole_folder(moved / "results" / "student" / "manifest.json")
    assert (student / "deep" / "file").read_bytes() == b"deep"


def test_links_out_of_the_working_folder_are_absolute(folder, tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    link_files(folder, work / "student")
    assert (work / "student" / "weights").readlink() == folder / "weights"
    assert not (work / "student" / "manifest.json").exists()


def test_a_link_to_a_link_points_to_the_file_itself(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    link_files(folder, tmp_path / "one")
    link_files(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "two" / "weights").readlink().parts == ("..", "model", "weights")


def test_what_tells_of_a_folder_is_not_linked_with_it(folder, tmp_path):
    for name in ("manifest.record.json", "manifest.record.attempts", "README.record.json"):
        (folder / name).write_text("{}")
    link_files(folder, tmp_path / "student")
    linked = {path.name for path in (tmp_path / "student").rglob("*") if path.is_symlink()}
    assert linked == {"weights", "file"}


def test_there_must_be_something_to_link_to(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no files there; expected a folder with a model"):
        link_files(tmp_path / "empty", tmp_path / "student")
