"""How the tokens of a pair fit is told in words, with shares of what was counted."""

import pytest

from bld.reporting.inputs import read_runs
from bld.reporting.tables import make_tables


def frame(*runs):
    return make_tables(read_runs(runs)).frames["alignment"]


def told(page):
    sections = [x for x in page.all("section") if x.get("aria-labelledby") == "tokenizers"]
    return [page.words(one) for section in sections for one in section.iter("p")]


def test_shares_are_of_what_was_counted(factory):
    (row,) = frame(factory.run("sft-1")).to_dict("records")
    counted = {
        "student": "small", "teacher": "large", "corpus": "docs", "documents": 150,
        "student_entries": 400, "teacher_entries": 1000, "shared_entries": 300,
        "student_tokens": 5000, "teacher_tokens": 4000, "aligned_tokens": 3200,
        "bytes": 16000, "shared_boundaries": 3500,
    }  # fmt: skip
    shares = {
        "shared_of_student": 3 / 4, "shared_of_teacher": 3 / 10, "aligned_of_student": 16 / 25,
        "aligned_of_teacher": 4 / 5, "left_over": 9 / 25, "boundary_share": 7 / 32,
        "bytes_per_chunk": 32 / 7,
    }  # fmt: skip
    assert row == counted | {name: pytest.approx(share) for name, share in shares.items()}


def test_a_pair_has_one_row_however_many_runs_it_has(factory):
    runs = [factory.run("sft-1"), factory.run("bld-1", "bld"), factory.run("m", student="medium")]
    assert frame(*runs)["student"].tolist() == ["small", "medium"]


def test_the_page_says_what_can_be_learnt_from_and_what_is_left_over(build, factory):
    page = build(factory.run("sft-1"))
    _, tokens, chunks, entries, _ = told(page)
    assert tokens.startswith("On 150 held-out documents, 64.0 % of the student\u2019s tokens")
    assert "36.0 % are left over" in tokens
    assert "at 21.9 % of the bytes" in chunks and "4.6 bytes on average" in chunks
    assert (
        "300 entries in common, 75.0 % of the student\u2019s and 30.0 % of the teacher" in entries
    )


def test_without_a_teacher_or_its_file_there_is_no_such_section(build, factory):
    assert told(build(factory.run("sft-1", teacher=None))) == []


def test_a_file_that_is_missing_is_told_once(build, factory):
    runs = [factory.run("sft-1"), factory.run("bld-1", "bld")]
    runs[0].files["alignment"].unlink()
    page = build(*runs)
    assert told(page) == []
    (note,) = [note for note in page.notes() if note.startswith("Failed: ")]
    assert note.startswith("Failed: Alignment of the tokens of small and large is missing: ")


def test_a_pair_without_tokens_has_dashes(build, factory):
    run = factory.run("sft-1")
    nothing = {"tokens": {"student": 0, "teacher": 0, "aligned": 0}}
    factory.edit(run.files["alignment"], **nothing, bytes={"total": 0, "shared_boundary": 0})
    _, tokens, chunks, *_ = told(build(run))
    assert "\u2013 of the student" in tokens and "\u2013 bytes on average" in chunks
