"""Rows in the forms in which people have them, found by their columns."""

import datetime
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bld.config.documents import Columns
from bld.documents.intake import Intake
from bld.documents.sources.dataset import read_dataset
from bld.documents.sources.files import read_files

CASES = Path(__file__).parent / "cases"
HOW_MANY = "How many legs have {} spiders?"
SO_MANY = "{} spiders have {} legs."
QUESTION, ANSWER = ("user", HOW_MANY.format(3)), ("assistant", SO_MANY.format(3, 24))


def said(document):
    return [(s.role, s.text.decode()) for s in document.segments]


def read(tmp_path, row, columns=None, intake=None):
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    [document] = read_files([str(tmp_path / "rows.jsonl")], columns=columns, intake=intake)
    return document


# What the fourth row of a file says, and as what the file is read.
FOURTH = {
    "07_several_answers.jsonl": (
        [("user", HOW_MANY.format(0)), ("assistant", "0 spiders have 0 legs. (way 3)")],
        "prompt and response",
    ),
    "20_parts.jsonl": ([QUESTION, ANSWER], "messages"),
    "21_sharegpt.jsonl": ([QUESTION, ANSWER], "ShareGPT"),
    "22_alpaca.json": ([("user", "Count the legs.\n\n3 spiders"), ANSWER], "Alpaca"),
    "22_dolly.jsonl": (
        [
            (
                "user",
                "What does the passage say of legs?\n\nThere are 3 spiders with eight legs each.",
            ),
            ANSWER,
        ],
        "Dolly",
    ),
    "23_orca.jsonl": ([("system", "Be short."), QUESTION, ANSWER], "prompt and response"),
    "24_developer.jsonl": ([("developer", "Be short."), QUESTION, ANSWER], "messages"),
    "25_blank.jsonl": ([QUESTION, ANSWER], "prompt and response"),
    "25_bom.jsonl": ([QUESTION, ANSWER], "prompt and response"),
    "26_rows.csv": ([QUESTION, ANSWER], "prompt and response"),
    "26_rows.jsonl.gz": ([QUESTION, ANSWER], "prompt and response"),
    "29_assistant_first.jsonl": (
        [("assistant", "Hello, ask me."), QUESTION, ANSWER],
        "messages",
    ),
    "29_ends_user.jsonl": ([QUESTION, ANSWER, ("user", "Thanks")], "messages"),
}


@pytest.mark.parametrize("name", FOURTH)
def test_common_formats_are_found_and_told(name):
    intake = Intake()
    documents = list(read_files([str(CASES / name)], intake=intake))
    expected, how = FOURTH[name]
    assert said(documents[3]) == expected
    [(read_as, rows)] = intake.manifest()["rows"]["read_as"].items()
    assert read_as.startswith(f"{how} (") and rows == len(documents) in (40, 320)


@pytest.mark.parametrize("name", ["02_think", "08_tools_with_text", "09_reasoning", "19_tools"])
def test_conversations_with_all_that_belongs_to_them_are_read(name):
    assert len(list(read_files([str(CASES / f"{name}.jsonl")]))) == 40


def test_an_answer_of_weight_0_is_not_trained_on():
    documents = read_files([str(CASES / "10_weights.jsonl")])
    assert {s.text for d in documents for s in d.segments if not s.supervised} >= {b"wrong answer"}


def test_a_null_is_told_with_its_row():
    with pytest.raises(
        ValueError, match=r"28_nulls\.jsonl, row 18, column 'response': .*NoneType None; mend"
    ):
        list(read_files([str(CASES / "28_nulls.jsonl")]))


def test_the_configuration_of_a_data_set_is_named():
    folder = str(CASES / "15_configurations")
    for name in ("main", "socratic"):
        documents = list(read_dataset(folder, "test", name=name))
        raw = pq.read_table(CASES / f"15_configurations/{name}/test-00000-of-00001.parquet")
        assert [d.supervised.decode() for d in documents] == [str(x) for x in raw["answer"]]
    with pytest.raises(ValueError, match="configurations main, socratic; name one under `name`"):
        list(read_dataset(folder, "test"))
    with pytest.raises(ValueError, match="no configuration 'mian', only main, socratic"):
        list(read_dataset(folder, "test", name="mian"))
    with pytest.raises(ValueError, match="no split 'dev', only train, test"):
        list(read_dataset(folder, "dev", name="main"))


def test_a_card_may_tell_of_files_that_were_not_fetched(tmp_path):
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - {split: train, path: data/train-*}\n  - {split: part, path: data/part-*}\n---\n"
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data/part-0.jsonl").write_text('{"text": "a"}\n')
    assert [d.content for d in read_dataset(str(tmp_path), "part")] == [b"a"]
    with pytest.raises(ValueError, match=r"split 'train' .*no file here matches data/train-\*"):
        list(read_dataset(str(tmp_path), "train"))


def test_types_may_differ_between_the_rows_of_a_data_set(tmp_path):
    (tmp_path / "train.jsonl").write_text(
        '{"question": "2+2?", "answer": 4}\n{"question": "a?", "answer": "b", "more": [1]}\n'
        '{"question": "c?", "answer": ["d"]}\n'
    )
    documents = read_dataset(str(tmp_path), "train")
    assert [next(documents).supervised for _ in range(2)] == [b"4", b"b"]
    with pytest.raises(ValueError, match=r"train\.jsonl, row 3, column 'answer', message 1: "):
        next(documents)


def test_what_the_library_alone_reads_is_told_in_one_line(tmp_path):
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  sep: ';'\n"
        "  data_files: [{split: train, path: a.csv}]\n---\n"
    )
    (tmp_path / "a.csv").write_text("prompt;response\nwhy?;so\n")
    assert [d.supervised for d in read_dataset(str(tmp_path), "train")] == [b"so"]
    (tmp_path / "a.csv").write_text("prompt;response\nwhy?;so\nbut;then;more\n")
    with pytest.raises(ValueError, match=r"cannot read split 'train' of this dataset.*") as caught:
        list(read_dataset(str(tmp_path), "train"))
    assert "\n" not in str(caught.value)


def test_of_a_text_in_a_data_set_every_line_is_a_row(tmp_path):
    (tmp_path / "train.txt").write_text("one\ntwo\n")
    assert [d.content for d in read_dataset(str(tmp_path), "train")] == [b"one", b"two"]


CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # Preference data: whole conversations, answers to messages, texts.
        (
            {"prompt": "q", "chosen": [{"role": "assistant", "content": "a"}], "rejected": []},
            [("user", "q"), ("assistant", "a")],
        ),
        (
            {
                "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
                "chosen": [{"role": "assistant", "content": "a"}],
                "rejected": [{"role": "assistant", "content": "b"}],
            },
            [("system", "s"), ("user", "q"), ("assistant", "a")],
        ),
        (
            {
                "chosen": [
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": "a"},
                ],
                "rejected": [],
            },
            [("user", "q"), ("assistant", "a")],
        ),
        (
            {"system": "s", "question": "q", "chosen": "a", "rejected": "b"},
            [("system", "s"), ("user", "q"), ("assistant", "a")],
        ),
        (
            {
                "conversations": [{"from": "human", "value": "q"}],
                "chosen": {"from": "gpt", "value": "a"},
                "rejected": {"from": "gpt", "value": "b"},
            },
            [("user", "q"), ("assistant", "a")],
        ),
        # ShareGPT with calls.
        (
            {
                "conversations": [
                    {"from": "human", "value": "q"},
                    {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
                    {"from": "observation", "value": "1"},
                    {"from": "gpt", "value": "a"},
                ],
                "tools": "[]",
                "system": "",
            },
            [
                ("user", "q"),
                ("assistant", ""),
                (
                    "tool_calls",
                    json.dumps(
                        [{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}]
                    ),
                ),
                ("tool", "1"),
                ("assistant", "a"),
            ],
        ),
        # Messages as JSON text.
        ({"messages": json.dumps(CHAT)}, [("user", "q"), ("assistant", "a")]),
        # An empty context is none; scalars are texts.
        ({"question": "q", "context": "", "answer": True}, [("user", "q"), ("assistant", "true")]),
        ({"question": "q", "context": None, "answer": 2.5}, [("user", "q"), ("assistant", "2.5")]),
        ({"question": 7, "passage": "p", "answer": 0}, [("user", "7\n\np"), ("assistant", "0")]),
    ],
)
def test_rows_of_many_shapes(tmp_path, row, expected):
    assert said(read(tmp_path, row)) == expected


def test_answers_within_a_prompt_are_not_trained_on(tmp_path):
    prompt = [*CHAT, {"role": "user", "content": "r"}]
    document = read(tmp_path, {"prompt": prompt, "chosen": "b", "rejected": "c"})
    assert document.supervised == b"b"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "q", "reply": "a"}, "the columns prompt, reply show no format; expected those"),
        ({"question": "q", "choices": ["a", "b"], "answer": 1}, "would leave out choices; say"),
        ({"prompt": "q", "completion": "a", "label": False}, "would leave out label; say"),
        ({"question": "q", "passage": "p", "context": "c", "answer": "a"}, "leave out passage"),
        ({"messages": [], "images": ["a.png"]}, "would leave out images"),
        ({"chosen": "a", "rejected": "b"}, "column 'chosen': expected a list of messages"),
        (
            {"system": "s", "messages": [{"role": "system", "content": "t"}]},
            "another system prompt than the column, 't'",
        ),
        (
            {"conversations": [{"from": "function_call", "value": "f(x)"}]},
            r"message 1: expected a call as JSON text, found str 'f\(x\)'",
        ),
        ({"question": "q", "answer": float("nan")}, "column 'answer': expected a string, found"),
        ({"question": "q", "answer": {"text": "a"}}, "column 'answer': expected an object with"),
    ],
)
def test_what_cannot_be_read_without_a_guess_is_refused(tmp_path, row, message):
    with pytest.raises(ValueError, match=rf"rows\.jsonl, row 1.*{message}"):
        read(tmp_path, row)


def test_fields_of_messages_are_dropped_where_it_is_said(tmp_path):
    row = {"messages": [{"role": "assistant", "content": "a", "mood": "glad", "seen": 1}]}
    with pytest.raises(ValueError, match=r"the field 'mood' .*`columns\.drop`"):
        read(tmp_path, row)
    assert said(read(tmp_path, row, Columns(drop=["mood", "seen"]))) == [("assistant", "a")]


def test_what_was_not_read_is_told(tmp_path):
    intake = Intake()
    read(tmp_path, {"text": "a", "id": 1, "url": "u"}, Columns(id="id"), intake)
    assert intake.manifest()["rows"]["columns_not_read"] == ["url"]
    assert intake.lines() == [
        "1 rows were read as text (text: text, id: id)",
        "columns that were not read: url",
    ]


def test_rows_may_lack_what_only_some_have(tmp_path):
    rows = [{"instruction": "i", "output": "o"}, {"instruction": "i", "input": "x", "output": "o"}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert [said(d)[0][1] for d in read_files([str(tmp_path / "a.json")])] == ["i", "i\n\nx"]


def test_values_of_parquet_that_json_lacks_are_texts(tmp_path):
    row = {
        "prompt": b"q",
        "response": datetime.date(2026, 11, 30),
        "system_prompt": Decimal("1.50"),
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    [document] = read_files([str(tmp_path / "a.parquet")])
    assert said(document) == [("system", "1.50"), ("user", "q"), ("assistant", "2026-11-30")]
