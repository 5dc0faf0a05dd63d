"""What `python -m bld.stages.verify` tells, and how it ends."""

import json
import zipfile
from pathlib import Path

import pytest

from bld.publishing.verify import verify
from bld.stages import reproduce as reproduce_stage
from bld.stages import verify as verify_stage

SUMMARY = "results/archive/demo/report/summary.json"


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a stage with arguments: how it ended, and what it printed as one line."""

    def run_stage(stage, *arguments):
        monkeypatch.setattr("sys.argv", [stage.__name__, *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        try:
            stage.main()
            ended = 0
        except SystemExit as error:
            ended = error.code
        return ended, " ".join(capsys.readouterr().out.split())

    return run_stage


def test_with_the_weights_in_it_a_crate_passes_too(made_up):
    assert verify(made_up.archive(include_weights=True)).problems == []


def test_a_good_crate_ends_with_0_and_says_what_was_not_checked(made_up, run):
    ended, printed = run(verify_stage, made_up.archive())
    assert not ended
    assert "holds:" in printed and "not checked:" in printed and "WRONG" not in printed
    assert "who made the crate: it bears no signature" in printed
    assert "was made by another version of the code" in printed


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir])
def test_of_what_is_no_file_that_is_said(run, tmp_path, make):
    path = tmp_path / "x.crate.zip"
    make(path)
    ended, printed = run(verify_stage, path)
    assert ended == 1 and "not a zip file that can be read" in printed


def test_a_bad_crate_ends_with_1_and_says_every_problem(made_up, run):
    path = made_up.archive()
    path.write_bytes(path.read_bytes()[:1000])
    ended, printed = run(verify_stage, path)
    assert ended == 1
    assert "WRONG: " in printed and printed.endswith("refused, 1 wrong")


@pytest.mark.parametrize(("seconds", "bits", "ends"), [(99, 2.5, 0), (12.5, 2.25, 1)])
def test_numbers_that_were_made_again_are_held_against_those_in_the_crate(
    made_up, run, seconds, bits, ends
):
    own = {"run": "sft", "train_seconds": 12.5, "bits_per_byte": 2.5}
    made_up.write(SUMMARY, {"runs": [own], "comparison": []})
    again = own | {"train_seconds": seconds, "bits_per_byte": bits}
    made_up.write("again.json", {"runs": [again], "comparison": []})
    record = made_up.folder / "results/archive/demo/report/index.record.json"
    told = json.loads(record.read_text())
    folder = "results/archive/demo/report"
    names = [f"{folder}/{name}" for name in ("index.html", "models.csv", "summary.json")]
    made_up.record("report", list(told["inputs"]), names, "demo")
    ended, printed = run(verify_stage, made_up.archive(), "--against", "again.json")
    assert ended == ends
    if ends:
        assert (
            f"again.json and {SUMMARY}: runs[sft].bits_per_byte: 2.25, the other has 2.5" in printed
        )
    else:
        assert "again.json holds the same numbers, times apart" in printed


def test_a_summary_that_cannot_be_read_is_a_problem(made_up, run):
    ended, printed = run(verify_stage, made_up.archive(), "--against", "nowhere.json")
    assert ended == 1
    assert "nowhere.json: expected the summary of a report" in printed


def test_reproduce_prints_what_to_type(made_up, run):
    ended, printed = run(reproduce_stage, made_up.archive(), "again")
    assert not ended
    assert "cd again" in printed
    assert (made_up.folder / "again/configuration.yaml").exists()


def test_reproduce_says_why_it_does_not(made_up, run):
    ended, _ = run(reproduce_stage, made_up.archive(), "results")
    assert ended == "results: expected a new or empty folder, found something there; name another"


def test_reproduce_says_where_it_cannot_write(made_up, run):
    ended, _ = run(reproduce_stage, made_up.archive(), "/proc/x/y")
    assert "No such file or directory: '/proc/x" in ended


def test_what_a_crate_says_does_nothing_to_the_terminal(made_up, run):
    path = made_up.archive()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("results/\x1b]0;owned\x07", "x")
    ended, printed = run(verify_stage, path)
    assert ended == 1
    assert "\\x1b]0;owned" in printed and "\x1b]" not in printed
