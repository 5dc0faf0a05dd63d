"""What may not be parted by splits."""

import json
from pathlib import Path

import pytest

from bld.config.documents import Columns
from bld.config.settings import Split
from bld.documents.shards import read_split, write_splits
from bld.documents.sources.files import read_files

CASES = Path(__file__).parent / "cases"


def groups(rows, tmp_path, **columns):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    documents = read_files([str(tmp_path / "rows.jsonl")], columns=Columns(**columns))
    return [document.group for document in documents]


def test_no_question_is_in_two_splits(tmp_path):
    documents = list(read_files([str(CASES / "07_several_answers.jsonl")]))
    splits = {"train": Split(fraction=0.7), "validation": Split(fraction=0.3)}
    write_splits(documents, {name: tmp_path / name for name in splits}, splits, 0)
    train, validation = (
        {d.segments[0].text for d in read_split(tmp_path / name)} for name in splits
    )
    assert len(train | validation) == 40 and train and validation
    assert not train & validation


def test_a_question_is_the_same_in_other_letters_and_under_another_system_prompt(tmp_path):
    rows = [
        {"system": "s", "prompt": "Why  is\nit so?", "response": "a"},
        {"system": "t", "prompt": "why is it so? ", "response": "b"},
        {"system": "s", "prompt": "Why is it not so?", "response": "a"},
    ]
    one, two, other = groups(rows, tmp_path)
    assert one == two != other


def test_a_column_names_the_group(tmp_path):
    rows = [{"text": "a", "book": 1}, {"text": "b", "book": 1}, {"text": "a", "book": 2}]
    assert groups(rows, tmp_path, group="book") == ["1", "1", "2"]
    with pytest.raises(ValueError, match="row 1, column 'book': expected a string, found NoneType"):
        groups([{"text": "a", "book": None}], tmp_path, group="book")


def test_a_text_is_a_group_of_its_own(tmp_path):
    one, two, other = groups([{"text": "a"}, {"text": "a"}, {"text": "A"}], tmp_path)
    assert one == two != other
