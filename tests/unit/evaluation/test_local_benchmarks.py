"""Benchmarks made from a split: what is asked, and that it is the same on every machine."""

import json
import re

import pytest
import yaml

from bld.documents.document import make_document
from bld.evaluation.benchmarks.local import CANDIDATES, CONTEXT, write_benchmark

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]


def source(number):
    """Twenty lines of one module; no two modules have a line in common."""
    word = WORDS[number % len(WORDS)]
    lines = [
        f"    total_{number} = total_{number} + {word}_{line}(items[{line}])" for line in range(20)
    ]
    return "\n".join([f"def sum_{number}(items):", *lines])


@pytest.fixture(scope="module")
def split():
    modules = [
        make_document(f"m{i}", "source", [("text", source(i))], f"group{i}") for i in range(20)
    ]
    chat = make_document("chat", "conversation", [("user", "Why?"), ("assistant", "Because.")])
    prose = make_document(
        "prose", "docstring", [("text", "Return naïve café\n\n{{no template}}\n")]
    )
    return [*modules, chat, prose]


@pytest.fixture
def make(split, tmp_path):
    """(kind, count, seed, documents) -> the rows and the definition that are written."""

    def build(kind, count, seed=0, documents=None):
        folder = tmp_path / f"{kind}{count}{seed}"
        folder.mkdir(exist_ok=True)
        write_benchmark(kind, split if documents is None else documents, count, seed, folder)
        rows = [json.loads(line) for line in (folder / "documents.jsonl").open(encoding="utf-8")]
        return rows, yaml.safe_load((folder / "task.yaml").read_text())

    return build


def test_of_four_lines_one_comes_next_and_the_others_are_from_elsewhere(make, split):
    rows, _ = make("next_line", 20)
    texts = {document.id: document.content.decode() for document in split}
    assert {row["id"] for row in rows} == {f"m{i}" for i in range(20)}
    for row in rows:
        assert len(set(row["candidates"])) == CANDIDATES and len(row["source"]) in CONTEXT
        own = row["candidates"][row["answer"]]
        assert texts[row["id"]].startswith(row["source"] + "\n" + own + "\n") or texts[
            row["id"]
        ].endswith(row["source"] + "\n" + own)
        for place, line in enumerate(row["candidates"]):
            assert (line in texts[row["id"]].split("\n")) == (place == row["answer"])


def test_of_four_documentations_one_belongs_to_the_function_and_none_names_it(make):
    def docstring(number, text):
        heading = f"module{number}.Thing.work_{number}(x)"
        turns = [("text", f"{heading}\n\n{text}\n\nMore of it.")]
        return make_document(f"d{number}", "docstring", turns, f"group{number}")

    texts = {f"d{i}": f"Return what {WORDS[i]} gives for x, or nothing at all." for i in range(8)}
    documents = [docstring(i, texts[f"d{i}"]) for i in range(8)]
    named = docstring(8, "Call work_8 again until it gives something for x.")
    rows, _ = make("documentation", 8, documents=[*documents, named, docstring(9, "Too short.")])
    assert {row["id"] for row in rows} == set(texts)
    for row in rows:
        assert row["candidates"][row["answer"]] == texts[row["id"]]
        assert len(set(row["candidates"])) == CANDIDATES
        assert set(row["candidates"]) <= set(texts.values())
        assert row["source"] == f"module{row['id'][1:]}.Thing.work_{row['id'][1:]}(x)"


def test_the_place_of_the_right_line_tells_nothing(make):
    places = [row["answer"] for seed in range(20) for row in make("next_line", 20, seed)[0]]
    assert all(60 <= places.count(place) <= 140 for place in range(CANDIDATES))


def test_what_is_to_be_completed_is_a_word_that_stood_there_four_times(make, split):
    rows, _ = make("next_word", 20)
    texts = {document.id: document.content.decode() for document in split}
    for row in rows:
        assert len(re.findall(rf"\b{row['word']}\b", row["source"])) >= 4
        assert len(row["source"]) in CONTEXT and not row["source"][-1].isspace()
        rest = texts[row["id"]].removeprefix(row["source"])
        assert re.match(rf"[ \t]*{row['word']}\b", rest)


def test_plain_text_is_whole_and_conversations_are_left_out(make, split):
    rows, _ = make("bits_per_byte", 21)
    texts = {document.id: document.content.decode() for document in split}
    assert "chat" not in {row["id"] for row in rows}
    assert all(row["text"] == texts[row["id"]] for row in rows)


@pytest.mark.parametrize("kind", ["next_line", "next_word", "bits_per_byte"])
def test_the_same_seed_gives_the_same_benchmark_and_another_one_another(kind, make):
    assert make(kind, 15, seed=1) == make(kind, 15, seed=1)
    assert make(kind, 15, seed=1)[0] != make(kind, 15, seed=2)[0]


@pytest.mark.parametrize("kind", ["next_line", "next_word", "bits_per_byte"])
def test_the_definition_reads_a_file_beside_it_so_that_the_folder_can_be_moved(kind, make):
    _, task = make(kind, 5)
    assert (task["dataset_path"], task["dataset_kwargs"]) == (
        "json",
        {"data_files": {"test": "documents.jsonl"}},
    )


@pytest.mark.parametrize(
    "kind, suitable", [("next_line", 20), ("next_word", 20), ("bits_per_byte", 21)]
)
def test_too_few_suitable_documents_are_refused_with_what_to_do(kind, suitable, make):
    with pytest.raises(
        ValueError, match=rf"only {suitable} of the 22 documents.*lower `documents`"
    ):
        make(kind, suitable + 1)


def test_lines_of_one_module_alone_make_no_choice(make, split):
    with pytest.raises(ValueError, match="only 0 of the 1 documents"):
        make("next_line", 1, documents=split[:1])
