import json
import socket

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bld.config.documents import Columns
from bld.documents.sources.dataset import read_dataset
from bld.documents.sources.files import read_files


def columns(**names):
    return Columns(**names)


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def write_parquet(path, rows, **options):
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return str(path)


WRITERS = {"jsonl": write_jsonl, "parquet": write_parquet}


@pytest.fixture(params=WRITERS)
def write(request, tmp_path):
    """Writes rows in one of the formats; returns what `read_files` is called with."""

    def written(rows, name="rows"):
        path = WRITERS[request.param](tmp_path / f"{name}.{request.param}", rows)
        return [path], request.param

    return written


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def taught(hurtful):
    """A text that something can be learned from."""
    return hurtful or "nearly empty"


def test_text_columns_keep_every_byte(write, taught):
    (document,) = read_files(*write([{"text": taught}]), columns(text="text"))
    assert document.content == taught.encode()
    assert document.kind == "text"
    assert [segment.role for segment in document.segments] == ["text"]


def test_chats_keep_every_byte_of_every_turn(write, hurtful):
    turns = [("system", hurtful), ("user", "q"), ("assistant", hurtful), ("user", hurtful)]
    turns.append(("assistant", "a"))
    rows = [{"chat": [{"role": role, "content": content} for role, content in turns]}]
    (document,) = read_files(*write(rows), columns(messages="chat"))
    assert [(s.role, s.text.decode(), s.supervised) for s in document.segments] == [
        (role, content, role == "assistant") for role, content in turns
    ]
    assert document.kind == "conversation"


def test_prompt_and_response_make_a_pair(write, taught):
    rows = [{"q": "why?", "a": taught, "other": 1}]
    (document,) = read_files(*write(rows), columns(prompt="q", response="a"))
    assert [tuple(segment) for segment in document.segments] == [
        ("user", b"why?", False),
        ("assistant", taught.encode(), True),
    ]


def test_a_text_file_is_one_document_byte_for_byte(tmp_path, taught):
    (tmp_path / "a.txt").write_bytes(taught.encode())
    (document,) = read_files([str(tmp_path / "a.txt")], "text", None)
    assert (document.id, document.content) == ("a.txt", taught.encode())


def test_rows_are_named_by_file_and_row_or_by_their_column(write):
    paths, format = write([{"text": "a", "id": "x"}], "one")
    more, _ = write([{"text": "b", "id": "y"}, {"text": "c", "id": "z"}], "two")
    unnamed = [d.id for d in read_files(paths + more, format, columns(text="text"))]
    assert unnamed == [f"one.{format}:1", f"two.{format}:1", f"two.{format}:2"]
    named = [d.id for d in read_files(paths + more, format, columns(text="text", id="id"))]
    assert named == ["x", "y", "z"]


def test_whole_numbers_may_be_ids(write):
    (document,) = read_files(*write([{"text": "a", "n": 12}]), columns(text="text", id="n"))
    assert document.id == "12"


def test_equal_content_is_one_group(write):
    rows = [{"text": "same"}, {"text": "same"}, {"text": "other"}]
    one, two, three = read_files(*write(rows), columns(text="text"))
    assert one.group == two.group != three.group


def test_a_folder_is_its_files_in_sorted_order(tmp_path):
    for name in ("b.txt", "a.txt", "sub/a.txt", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    documents = list(read_files([str(tmp_path)], "text", None))
    assert [d.id for d in documents] == ["a.txt", "b.txt", "sub/a.txt"]


def test_a_pattern_is_its_matches_in_sorted_order(tmp_path):
    for name in ("b.txt", "a.txt", "c.md"):
        (tmp_path / name).write_text(name)
    documents = read_files([str(tmp_path / "*.txt")], "text", None)
    assert [d.id for d in documents] == ["a.txt", "b.txt"]


def test_rows_come_before_a_later_broken_row_is_read(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "first"}\nnot JSON\n')
    documents = read_files([str(tmp_path / "a.jsonl")], "jsonl", columns(text="text"))
    assert next(documents).content == b"first"
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2: broken JSON"):
        next(documents)


def test_rows_beyond_the_first_batch_keep_their_numbers(tmp_path):
    rows = [{"text": str(i)} for i in range(1000)]
    path = write_parquet(tmp_path / "a.parquet", rows, row_group_size=300)
    documents = list(read_files([path], "parquet", columns(text="text")))
    assert [d.content for d in documents] == [str(i).encode() for i in range(1000)]
    assert [d.id for d in documents] == [f"a.parquet:{i}" for i in range(1, 1001)]


SAY_HI = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": ""}
TEXT_PART = {"type": "text", "text": "Is it "}


def parts(role, *content):
    return {"role": role, "content": list(content)}


def test_an_empty_answer_beside_another_is_kept(write):
    rows = [{"m": [SAY_HI, ANSWER | {"content": "hi"}, SAY_HI, ANSWER]}]
    (document,) = read_files(*write(rows), columns(messages="m"))
    assert document.segments[-1].text == b"" and document.segments[-1].supervised


@pytest.mark.parametrize(
    ("rows", "names", "message"),
    [
        (
            [{"body": "a", "n": 1}],
            {"text": "text"},
            "no column 'text'; the columns here are body, n",
        ),
        ([{"text": 3}], {"text": "text"}, "row 1, column 'text': expected a string, found int 3"),
        ([{"text": None}, {"text": "a"}], {"text": "text"}, "row 1, .*found NoneType"),
        (
            [{"t": "a", "id": "x"}, {"t": "b", "id": "x"}],
            {"text": "t", "id": "id"},
            "row 2: .*'x' was",
        ),
        ([{"t": "a", "id": 1.5}], {"text": "t", "id": "id"}, "column 'id': expected a string"),
        ([{"m": "hi"}], {"messages": "m"}, "row 1, column 'm': expected a list of messages"),
        ([{"m": ["hi"]}], {"messages": "m"}, "message 1: expected an object with role and content"),
        ([{"m": [{"role": "user"}]}], {"messages": "m"}, "message 1: expected an object with role"),
        ([{"m": [SAY_HI]}], {"messages": "m"}, "row 1, .*has no assistant turn"),
        (
            [{"m": [SAY_HI, {"role": "narrator", "content": "x"}]}],
            {"messages": "m"},
            "row 1, column 'm', message 2: the role must be .*found str 'narrator'",
        ),
        (
            [{"m": [SAY_HI, ANSWER | {"mood": "glad"}]}],
            {"messages": "m"},
            "message 2: the field 'mood' of a message by assistant is not understood",
        ),
        (
            [{"m": [SAY_HI | {"weight": 1}, ANSWER]}],
            {"messages": "m"},
            "message 1: the field 'weight' of a message by user is not understood",
        ),
        (
            [{"m": [SAY_HI, ANSWER | {"weight": 0}]}],
            {"messages": "m"},
            "no assistant turn that is trained on",
        ),
        (
            [{"m": [SAY_HI, ANSWER | {"weight": 2}]}],
            {"messages": "m"},
            "message 2: expected a weight of 0 .not trained on. or 1, found int 2",
        ),
        (
            [{"m": [parts("user", {"type": "image"}), parts("assistant", TEXT_PART)]}],
            {"messages": "m"},
            "message 1: expected a string or parts of type text, found dict {'type': 'image'",
        ),
        (
            [{"m": [SAY_HI, ANSWER], "t": "{"}],
            {"messages": "m", "tools": "t"},
            "column 't': expected a list of descriptions of tools",
        ),
        (
            [{"m": [{"role": "assistant", "content": None}, SAY_HI]}],
            {"messages": "m"},
            "message 1: expected a string, found NoneType",
        ),
        ([{"q": "a"}], {"prompt": "q", "response": "r"}, "no column 'r'; the columns here are q"),
        ([{"m": [SAY_HI, ANSWER]}], {"messages": "m"}, "row 1: all that is trained on is empty"),
        ([{"text": ""}], {"text": "text"}, "row 1: all that is trained on is empty"),
    ],
)
def test_rows_that_are_no_documents_are_errors_that_say_where(write, rows, names, message):
    with pytest.raises(ValueError, match=rf"rows\.\w+.*{message}"):
        list(read_files(*write(rows), columns(**names)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "ok"}\n{"text": \n', r"line 2: broken JSON"),
        (b'["ok"]\n', r"line 1: every line must be one JSON object, found list"),
        (b'{"text": "ok"}\n{"text": "\xff"}\n', r"not valid UTF-8 at byte offset 25"),
        (b'{"text": "a\\ud800"}\n', r"row 1: document 'a.jsonl:1', text .*U\+D800 at character 1"),
    ],
)
def test_broken_jsonl_is_an_error_that_says_where(tmp_path, content, message):
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.jsonl.*{message}"):
        list(read_files([str(tmp_path / "a.jsonl")], "jsonl", columns(text="text")))


def test_an_id_with_a_lone_surrogate_is_an_error_that_says_where(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a", "id": "\\ud800"}\n')
    with pytest.raises(ValueError, match=r"a\.jsonl, row 1: document id .*U\+D800"):
        list(read_files([str(tmp_path / "a.jsonl")], "jsonl", columns(text="text", id="id")))


def test_a_text_file_that_is_not_utf8_is_an_error_with_the_offset(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"caf\xe9 au lait")
    with pytest.raises(ValueError, match=r"a\.txt: not valid UTF-8 at byte offset 3"):
        list(read_files([str(tmp_path / "a.txt")], "text", None))


def test_parquet_text_that_is_not_utf8_is_an_error_with_row_and_offset(tmp_path):
    raw = pa.array([b"fine", b"caf\xe9"], pa.binary())
    forged = pa.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
    pq.write_table(pa.table({"text": forged}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet, row 2: not valid UTF-8 at byte offset 3"):
        list(read_files([str(tmp_path / "a.parquet")], "parquet", columns(text="text")))


def test_truncated_parquet_is_an_error_that_names_the_file(tmp_path):
    path = tmp_path / "a.parquet"
    write_parquet(path, [{"text": "a" * 1000}] * 10)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"a\.parquet: not a whole parquet file"):
        list(read_files([str(path)], "parquet", columns(text="text")))


@pytest.mark.parametrize("name", ["absent.txt", "absent-*.txt"])
def test_paths_that_match_nothing_are_errors(tmp_path, name):
    with pytest.raises(ValueError, match=r"absent.*no such file, and as a pattern it matches none"):
        list(read_files([str(tmp_path / name)], "text", None))


def test_a_folder_without_such_files_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"the folder holds no file that ends in \.txt"):
        list(read_files([str(tmp_path)], "text", None))


def test_files_whose_documents_would_share_ids_are_refused(tmp_path):
    paths = [tmp_path / folder / "a.txt" for folder in "xy"]
    for path in paths:
        path.parent.mkdir()
        path.write_text("text")
    with pytest.raises(ValueError, match=r"x/a\.txt and .*y/a\.txt would give .* the same ids"):
        list(read_files([str(path) for path in paths], "text", None))
    ids = [document.id for document in read_files([str(tmp_path)], "text", None)]
    assert ids == ["x/a.txt", "y/a.txt"]


@pytest.fixture
def dataset_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "chats"
    (folder / "data").mkdir(parents=True)
    for split in ("train", "test"):
        rows = [
            {"m": [SAY_HI, {"role": "assistant", "content": f"{split} {i}\r\n"}]} for i in range(3)
        ]
        write_parquet(folder / "data" / f"{split}-00000-of-00001.parquet", rows)
    return folder


def test_a_dataset_folder_is_read_without_network(dataset_folder, no_network):
    documents = list(read_dataset(str(dataset_folder), "test", columns(messages="m")))
    assert [d.supervised for d in documents] == [f"test {i}\r\n".encode() for i in range(3)]
    assert [d.id for d in documents] == [f"chats/test:{i}" for i in (1, 2, 3)]


def test_what_the_workflow_says_of_a_dataset_is_not_read_as_data(tmp_path, no_network):
    folder = tmp_path / "plain"
    folder.mkdir()
    write_parquet(folder / "data.parquet", [{"text": "a"}, {"text": "b"}])
    for name in ("manifest.json", "manifest.record.json"):
        (folder / name).write_text('{"files": {}}')
    documents = read_dataset(str(folder), "train", columns(text="text"))
    assert [d.content for d in documents] == [b"a", b"b"]


def test_a_saved_dataset_is_read_without_network(tmp_path, taught, no_network):
    import datasets

    datasets.disable_progress_bars()
    saved = datasets.Dataset.from_dict({"text": [taught, "b"]})
    saved.save_to_disk(tmp_path / "single")
    datasets.DatasetDict(train=saved).save_to_disk(tmp_path / "splits")
    for folder in ("single", "splits"):
        documents = read_dataset(str(tmp_path / folder), "train", columns(text="text"))
        assert [d.content for d in documents] == [taught.encode(), b"b"]
    with pytest.raises(ValueError, match="no split 'test', only train"):
        list(read_dataset(str(tmp_path / "splits"), "test", columns(text="text")))


def test_dataset_errors_say_where(dataset_folder, tmp_path, no_network):
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        list(read_dataset(str(tmp_path / "nowhere"), "train", columns(messages="m")))
    with pytest.raises(ValueError, match=r"chats: cannot read split 'dev'.*train"):
        list(read_dataset(str(dataset_folder), "dev", columns(messages="m")))
    with pytest.raises(ValueError, match=r"chats/data/train-.*, row 1: no column 'text'; .* m;"):
        list(read_dataset(str(dataset_folder), "train", columns(text="text")))


CALL = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": {"town": "a"}}}
TOOL = {"type": "function", "function": {"name": "weather"}}


def test_all_that_messages_say_is_read(write):
    said_twice = CALL | {"function": CALL["function"] | {"arguments": '{"town": "a"}'}}
    messages = [
        {"role": "developer", "content": "Be short.", "name": None},
        {"role": "user", "content": "Is it hot?"},
        {"role": "assistant", "content": None, "tool_calls": [said_twice]},
        {"role": "tool", "content": "30", "tool_call_id": "c", "name": "weather"},
        {"role": "assistant", "content": "No.", "weight": 0},
        {"role": "user", "content": "Really?"},
        {"role": "assistant", "content": "Yes.", "reasoning_content": "30 is hot.", "weight": 1},
    ]
    rows = [{"m": messages, "t": json.dumps([TOOL])}]
    (document,) = read_files(*write(rows), columns(messages="m", tools="t"))
    assert [(s.role, s.text.decode(), s.supervised) for s in document.segments] == [
        ("tools", json.dumps([TOOL]), False),
        ("developer", "Be short.", False),
        ("user", "Is it hot?", False),
        ("assistant", "", True),
        ("tool_calls", json.dumps([CALL]), True),
        ("tool", "30", False),
        ("assistant", "No.", False),
        ("user", "Really?", False),
        ("reasoning", "30 is hot.", True),
        ("assistant", "Yes.", True),
    ]


def test_contents_of_text_parts_are_joined(write):
    question = parts("user", TEXT_PART, {"type": "text", "text": "hot?"})
    rows = [{"m": [question, parts("assistant", {"type": "text", "text": "No."})]}]
    (document,) = read_files(*write(rows), columns(messages="m"))
    assert [segment.text for segment in document.segments] == [b"Is it hot?", b"No."]
