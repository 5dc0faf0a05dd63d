"""Rows that are no documents: left out and counted exactly, or named where they stop a corpus."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.config.documents import Columns
from bld.config.settings import Split
from bld.documents.document import Document
from bld.documents.intake import HOPELESS, Intake
from bld.documents.rows import Row, row_documents
from bld.documents.shards import read_split, write_splits
from bld.documents.sources.files import read_files

SPLITS = {"all": Split(fraction=1.0)}
USER = {"role": "user", "content": "Why?"}


def good(number):
    answer = {"role": "assistant", "content": f"Since {number}."}
    return {"id": number, "messages": [USER | {"content": f"Why {number}?"}, answer]}


def of(*messages, number=0):
    return json.dumps({"id": f"bad {number}", "messages": list(messages)}).encode()


def answer(**fields):
    return {"role": "assistant", "content": "So.", **fields}


# Ten kinds, each as a line of the file and the reason that it is counted by.
BROKEN = {
    "broken JSON": b'{"id": 1, "messages": [',
    "no JSON object": b'["a"]',
    "not valid UTF-8": b'{"id": "\xff", "messages": []}',
    "a column is missing": b'{"id": "bad", "chat": []}',
    "no list of messages": b'{"id": "bad", "messages": "Why?"}',
    "null where text is expected": of(USER | {"content": None}, answer()),
    "an unknown role": of(USER | {"role": "narrator"}, answer()),
    "a field of a message that is not understood": of(USER, answer(mood="glad")),
    "no answer that is trained on": of(USER, answer(weight=0)),
    "nothing to learn from": of(USER, answer(content="")),
}
ROWS, EACH = 10_000, 20


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A file of 10,000 rows, 2 % of them broken in ten ways, with the places of these by reason."""
    lines = [json.dumps(good(number)).encode() for number in range(ROWS)]
    drawn = random.Random(0).sample(range(1, ROWS), EACH * len(BROKEN))
    places = {}
    for number, reason in zip(drawn, list(BROKEN) * EACH, strict=True):
        lines[number] = BROKEN[reason]
        places.setdefault(reason, []).append(number + 1)
    path = tmp_path_factory.mktemp("broken") / "rows.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path, {reason: sorted(found) for reason, found in places.items()}


@pytest.mark.parametrize("columns", [Columns(messages="messages", id="id"), Columns(id="id")])
def test_broken_rows_are_left_out_and_counted_by_reason(broken, tmp_path, columns):
    path, places = broken
    intake = Intake("skip", at_most=0.02)
    documents = read_files([str(path)], None, columns, intake)
    manifest = write_splits(documents, {"all": tmp_path}, SPLITS, 0, intake.manifest)["all"]
    rows = manifest["rows"]
    assert (rows["rows"], rows["skipped"]) == (ROWS, EACH * len(BROKEN))
    assert {why: found["rows"] for why, found in rows["reasons"].items()} == dict.fromkeys(
        BROKEN, EACH
    )
    for why, found in rows["reasons"].items():
        first = [int(place.split()[-1].split(",")[0]) for place in map(whole_row, found["first"])]
        assert first == places[why][:3], why
    bad = {number for numbers in places.values() for number in numbers}
    kept = [number for number in range(ROWS) if number + 1 not in bad]
    assert [document.id for document in read_split(tmp_path)] == [str(number) for number in kept]
    assert any("200 rows were left out: 20 for " in line for line in intake.lines())


def whole_row(place):
    """A place without what it names within a row."""
    return place.split(", column")[0]


def test_the_first_of_them_stops_where_none_may_be(broken):
    path, places = broken
    first = min(number for numbers in places.values() for number in numbers)
    with pytest.raises(ValueError, match=rf"rows\.jsonl, (row|line) {first}[,:].*on_bad_row: skip"):
        list(read_files([str(path)], columns=Columns(messages="messages", id="id")))


def test_more_than_may_be_stop_and_leave_nothing(broken, tmp_path):
    intake = Intake("skip", at_most=0.0199)
    documents = read_files([str(broken[0])], columns=Columns(messages="messages"), intake=intake)
    with pytest.raises(ValueError, match=r"200 of 10,000 rows are no documents, .* 0\.0199 .*line"):
        write_splits(documents, {"all": tmp_path}, SPLITS, 0, intake.manifest)
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_any_document_is_not_read_to_its_end(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n' * 3 * HOPELESS)
    intake = Intake("skip", at_most=1.0)
    with pytest.raises(ValueError, match=r"none of the first 1,000 rows is a document: .* no form"):
        list(read_files([str(tmp_path / "a.jsonl")], intake=intake))


def test_an_id_seen_before_is_a_row_to_leave_out_but_not_that_of_a_row_left_out(tmp_path):
    rows = [{"id": "a", "text": ""}, {"id": "a", "text": "x"}, {"id": "a", "text": "y"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    intake = Intake("skip")
    documents = read_files([str(tmp_path / "a.jsonl")], None, Columns(id="id"), intake)
    assert [document.content for document in documents] == [b"x"]
    reasons = intake.manifest()["rows"]["reasons"]
    assert {why: found["first"][0][-5:] for why, found in reasons.items()} == {
        "an id that was seen before": "row 3",
        "nothing to learn from": "row 1",
    }


# Rows made at random of the fields that people have.

TEXT = st.text(max_size=8)
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT)
JSON = st.recursive(
    SCALAR, lambda x: st.lists(x, max_size=3) | st.dictionaries(TEXT, x, max_size=3), max_leaves=6
)
PART = st.fixed_dictionaries({"type": st.sampled_from(["text", "image"]), "text": TEXT | JSON})
CONTENT = st.one_of(TEXT, TEXT, st.none(), st.lists(PART, max_size=2), JSON)
CALL = st.fixed_dictionaries(
    {"function": st.fixed_dictionaries({"name": TEXT, "arguments": st.just("{}") | JSON})}
)
MESSAGE = st.one_of(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(
                ["system", "developer", "user", "assistant", "assistant", "tool", "critic"]
            ),
            "content": CONTENT,
        },
        optional={
            "tool_calls": st.lists(CALL, max_size=2) | JSON,
            "weight": st.sampled_from([0, 1, 2, None]),
            "reasoning_content": TEXT | JSON,
            "tool_call_id": TEXT,
            "name": TEXT | st.none(),
        },
    ),
    st.fixed_dictionaries(
        {
            "from": st.sampled_from(["human", "gpt", "system", "function_call", "observation"]),
            "value": TEXT | JSON,
        }
    ),
    JSON,
)
MESSAGES = st.lists(MESSAGE, max_size=4) | TEXT | JSON
NAMES = {
    **dict.fromkeys(["messages", "conversations", "chosen", "rejected"], MESSAGES),
    **dict.fromkeys(["instruction", "input", "output", "context", "response"], SCALAR | JSON),
    **dict.fromkeys(["prompt", "question", "answer"], SCALAR | MESSAGES),
    **dict.fromkeys(["system", "system_prompt", "text"], TEXT | JSON),
    **dict.fromkeys(["tools", "label", "id"], JSON),
}
ROW = st.lists(st.sampled_from(sorted(NAMES)), min_size=1, max_size=5, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: NAMES[name] for name in names})
)


def documents_of(rows, intake):
    given = (Row("rows", f"row {i}", f"{i}", row, list(row)) for i, row in enumerate(rows))
    return row_documents(given, Columns(), intake)


@given(st.lists(ROW, max_size=8))
@settings(deadline=None, max_examples=500)
def test_a_row_is_a_document_with_something_to_learn_or_counted(rows):
    intake = Intake("skip")
    documents = list(documents_of(rows, intake))
    assert all(isinstance(document, Document) and document.supervised for document in documents)
    assert all(document.group for document in documents)
    counts = intake.manifest().get("rows", {"rows": 0, "skipped": 0, "reasons": {}})
    assert counts["rows"] == len(rows) == len(documents) + counts["skipped"]
    assert counts["skipped"] == sum(found["rows"] for found in counts["reasons"].values())
    # With `stop`, what comes before the first of them is the same.
    read = documents_of(rows, Intake())
    for document in documents:
        try:
            assert next(read) == document
        except ValueError as error:
            assert counts["skipped"], error
            break


@given(st.lists(TEXT, min_size=1, max_size=5), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=100)
def test_texts_come_through_every_form_byte_for_byte(tmp_path_factory, texts, as_parts, is_from):
    roles = ("from", "value") if is_from else ("role", "content")

    def message(role, text):
        given = [{"type": "text", "text": text}] if as_parts else text
        return dict(zip(roles, (role, given), strict=True))

    turns = [("user", "assistant")[i % 2] for i in range(len(texts))]
    messages = [message(role, text) for role, text in zip(turns, texts, strict=True)]
    row = {"conversations": [*messages, message("assistant", "end")]}
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text(json.dumps(row))
    [document] = read_files([str(path)])
    assert [s.text.decode() for s in document.segments] == [*texts, "end"]
