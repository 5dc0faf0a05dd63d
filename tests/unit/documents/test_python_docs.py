import ast
import hashlib
import inspect
import json
import os
import queue
import re
import subprocess
import sys
import sysconfig
import textwrap
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from bld.documents import questions
from bld.documents.cutting import paragraphs
from bld.documents.questions import FOLLOW_UPS, QUESTIONS, Entry
from bld.documents.sources.python_docs import (
    definitions,
    group_of,
    is_table,
    python_docs,
    stdlib_modules,
    topic_groups,
)
from bld.documents.splits import assign_split

MAX_BYTES = 2000
PACKAGE = Path(questions.__file__).parents[2]
LIBRARY = Path(sysconfig.get_path("stdlib"))


@pytest.fixture(scope="module")
def corpus():
    return list(python_docs(MAX_BYTES))


def digest(documents):
    hashed = hashlib.sha256()
    for document in documents:
        hashed.update(repr((document.id, document.group, document.segments)).encode())
    return hashed.hexdigest()


def test_another_process_makes_the_same_documents_and_imports_none_of_their_modules(corpus):
    program = """
        import hashlib, sys, sysconfig
        from bld.documents.sources.python_docs import python_docs
        sysconfig.get_path("stdlib")
        before = set(sys.modules)
        hashed = hashlib.sha256()
        for document in python_docs(2000):
            hashed.update(repr((document.id, document.group, document.segments)).encode())
        print(hashed.hexdigest(), *(set(sys.modules) - before))
    """
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.split() == [digest(corpus)]


def test_documents_are_utf8_within_bounds_and_have_ids_of_their_own(corpus):
    for document in corpus:
        assert 0 < len(document.content) <= MAX_BYTES
        assert document.content.decode().strip()
    assert len({document.id for document in corpus}) == len(corpus)


def test_no_content_occurs_twice(corpus):
    assert len({document.content for document in corpus}) == len(corpus)
    assert len({document.supervised for document in corpus}) == len(corpus)


def test_every_kind_is_there_and_every_byte_of_plain_documents_is_supervised(corpus):
    kinds = Counter(document.kind for document in corpus)
    assert set(kinds) == {"source", "docstring", "topic", "conversation"}
    assert min(kinds.values()) > 100
    for document in corpus:
        if document.kind != "conversation":
            assert [segment.role for segment in document.segments] == ["text"]
            assert document.supervised == document.content


def test_a_beginning_of_the_stream_is_a_sample_of_all_kinds(corpus):
    share = Counter(document.kind for document in corpus)
    first = Counter(document.kind for document in corpus[:2000])
    for kind, count in share.items():
        expected = 2000 * count / len(corpus)
        assert abs(first[kind] - expected) < 5 * expected**0.5


def test_a_split_never_shares_a_module(corpus):
    shares = {"teacher": 0.5, "train": 0.3, "validation": 0.1, "test": 0.1}
    splits = defaultdict(set)
    for document in corpus:
        module = document.id.split("/")[0].split(".")[0]
        if document.kind != "topic":
            splits[module].add(assign_split(document.group, shares, 0))
    assert all(len(found) == 1 for found in splits.values())
    assert {name for found in splits.values() for name in found} == set(shares)


@pytest.mark.parametrize(
    ("module", "twin"),
    [
        ("_pydecimal", "decimal"),
        ("_pyio", "io"),
        ("_pydatetime", "datetime"),
        ("_py_abc", "abc"),
        ("_collections_abc", "collections.abc"),
        ("_threading_local", "threading"),
        ("ntpath", "posixpath"),
        ("asyncio.events", "asyncio"),
    ],
)
def test_twins_share_a_group(module, twin):
    assert group_of(module) == group_of(twin)


def test_unlike_modules_have_groups_of_their_own():
    assert len({group_of(module) for module in ("json", "decimal", "py_compile", "typing")}) == 4


def test_tests_tables_and_foreign_packages_are_left_out(corpus):
    modules = dict(stdlib_modules(LIBRARY))
    assert {"json", "json.decoder", "asyncio.events", "_pydecimal"} <= modules.keys()
    for module, path in modules.items():
        folders = path.relative_to(LIBRARY).parts[:-1]
        assert not {"test", "tests", "idle_test", "site-packages", "dist-packages"} & set(folders)
        assert not module.startswith(("encodings", "_sysconfigdata"))
    for document in corpus:
        if document.kind == "source":
            text = document.content.decode()
            assert sum(map(str.isalpha, text)) > sum(map(str.isdigit, text))


def test_source_documents_are_the_module_in_order(corpus):
    pieces = {
        int(document.id.split("/")[2]): document.content.decode()
        for document in corpus
        if document.id.startswith("queue/source/")
    }
    joined = "\n".join(pieces[i] for i in sorted(pieces))
    source = (LIBRARY / "queue.py").read_text()
    assert [line for line in joined.split("\n") if line] == [
        line for line in source.split("\n") if line
    ]


def test_source_is_cut_before_decorators_and_the_comment_above():
    source = "import a\n\n# about f\n@a.b\n@c\ndef f():\n    pass\n\nx = 1\nclass C:\n    pass\n"
    assert definitions(source, ast.parse(source)) == [
        "import a\n\n",
        "# about f\n@a.b\n@c\ndef f():\n    pass\n\nx = 1\n",
        "class C:\n    pass\n",
    ]


def test_cut_source_joins_to_the_whole_file():
    for _, path in stdlib_modules(LIBRARY)[::20]:
        source = path.read_text(encoding="utf-8")
        assert "".join(definitions(source, ast.parse(source))) == source


def test_numbers_and_escapes_are_tables_and_code_is_not():
    assert is_table("{0x9d: '\\x9d', 0x9e: '\\u017e', 0x9f: '\\u0178'}")
    assert not is_table("def half(x):\n    return x // 2\n")


def only(corpus, prefix, text):
    (found,) = (
        d for d in corpus if d.id.startswith(prefix) and d.content.decode().startswith(text)
    )
    return found.content.decode()


def test_a_docstring_has_name_and_signature_above_it(corpus):
    expected = f"json.dumps{inspect.signature(json.dumps)}\n\n{inspect.getdoc(json.dumps).strip()}"
    assert only(corpus, "json/docstring/", "json.dumps(") == expected
    expected = f"class queue.LifoQueue(Queue)\n\n{inspect.getdoc(queue.LifoQueue).strip()}"
    assert only(corpus, "queue/docstring/", "class queue.LifoQueue") == expected


def test_topics_that_share_a_long_paragraph_share_a_group_even_through_others():
    shared = [f"paragraph {i} ".ljust(100, ".") for i in range(3)]
    topics = {
        "if": shared[0],
        "compound": f"{shared[0]}\n\nshort\n\n{shared[1]}",
        "while": f"\n{shared[1]}\n",
        "numbers": f"short\n\n{shared[2]}",
    }
    groups = topic_groups(topics)
    assert groups["if"] == groups["compound"] == groups["while"] != groups["numbers"]


def test_no_long_paragraph_of_a_topic_is_in_two_groups():
    tree = ast.parse((LIBRARY / "pydoc_data" / "topics.py").read_text(encoding="utf-8"))
    topics = ast.literal_eval(tree.body[-1].value)
    groups = topic_groups(topics)
    found = defaultdict(set)
    for name, text in topics.items():
        for paragraph in paragraphs(text):
            if len(paragraph.strip()) >= 80:
                found[paragraph.strip()].add(groups[name])
    assert all(len(names) == 1 for names in found.values())
    assert len(set(groups.values())) > len(topics) // 3


@pytest.fixture(scope="module")
def conversations(corpus):
    return [document for document in corpus if document.kind == "conversation"]


def pattern_of(question):
    """Whether a turn was made from this template."""
    template = re.escape(question.template)
    template = re.sub(r"\\{(signature|summary)\\}", ".+", template)
    return re.compile(re.sub(r"\\{\w+\\}", r"[\\w.]+", template), re.DOTALL)


def templates_in_use(templates, turns):
    return {
        question
        for question in templates
        if any(pattern_of(question).fullmatch(turn) for turn in turns)
    }


def test_conversations_are_pairs_of_a_question_and_a_supervised_answer(conversations):
    turns = Counter()
    for document in conversations:
        roles = [(segment.role, segment.supervised) for segment in document.segments]
        turns[len(roles) // 2] += 1
        assert roles == [("user", False), ("assistant", True)] * (len(roles) // 2)
    assert set(turns) == {1, 2}
    assert 0.05 < turns[2] / turns.total() < 0.2


def test_questions_are_asked_in_many_ways_with_several_forms_of_answer(conversations):
    first = [document.segments[0].text.decode() for document in conversations]
    used = templates_in_use(QUESTIONS, first)
    assert len(used) >= 24
    assert len({question.answer for question in used}) == 5
    second = [d.segments[2].text.decode() for d in conversations if len(d.segments) == 4]
    assert templates_in_use(FOLLOW_UPS, second) == set(FOLLOW_UPS)


def test_no_way_of_asking_is_rare_or_common(conversations):
    first = [document.segments[0].text.decode() for document in conversations]
    for question in QUESTIONS:
        asked = sum(bool(pattern_of(question).fullmatch(turn)) for turn in first)
        assert len(first) / 500 < asked < len(first) / 10


@pytest.mark.parametrize("rank", range(0, 80, 8))
def test_a_second_turn_is_about_the_next_member_of_the_same_class(monkeypatch, rank):
    entries = [
        Entry("queue", "C.one", "method", "queue.C.one(self)", "Do the first thing, please."),
        Entry("queue", "C.two", "method", "queue.C.two(self)", "Do the second thing, please."),
        Entry("queue", "alone", "function", "queue.alone()", "Do it all alone, please."),
    ]
    monkeypatch.setattr(questions, "_rank", lambda entry: rank)
    both, two, alone = questions.conversations(entries, MAX_BYTES)
    assert [role for role, _ in both] == ["user", "assistant", "user", "assistant"]
    assert "one" in both[0][1] + both[1][1] and "two" in both[2][1] + both[3][1]
    assert len(two) == len(alone) == 2
    monkeypatch.setattr(questions, "_rank", lambda entry: rank + 1)
    assert [len(turns) for turns in questions.conversations(entries, MAX_BYTES)] == [2, 2, 2]


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A small standard library of one's own: a function that writes a module into it."""

    def add(name, source):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)

    add("pydoc_data/topics.py", "topics = {'if': 'The if statement is used.'}\n")
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    return add


def test_duplicates_stay_with_the_first_module(library):
    for name in ("queue.py", "heapq.py", "json/__init__.py"):
        library(name, "class Same:\n    pass\n")
    sources = [document for document in python_docs(200) if document.kind == "source"]
    assert [document.id for document in sources] == ["heapq/source/0"]


def test_a_file_that_does_not_parse_is_an_error_that_names_it(library):
    library("queue.py", "def broken(:\n")
    with pytest.raises(ValueError, match=r"queue\.py: .*cannot be parsed .*line 1"):
        list(python_docs(200))


def test_private_names_are_documented_but_not_asked_about(library):
    library("queue.py", 'def _hidden():\n    """Hide something from everybody."""\n')
    kinds = {document.kind for document in python_docs(200)}
    assert kinds == {"source", "docstring", "topic"}


def test_long_things_are_cut_to_the_smallest_bound(library):
    body = "\n".join(f"    value_{i} = 'some text that is rather long'" for i in range(50))
    doc = "\n\n".join(f"Paragraph {i} of a long docstring. " + "word " * 30 for i in range(9))
    library("queue.py", f'def f():\n    """{doc}"""\n{body}\n    return "{"x" * 500}"\n')
    documents = list(python_docs(200))
    assert all(0 < len(document.content) <= 200 for document in documents)
    text = "".join(d.content.decode() for d in documents)
    assert all(f"value_{i} =" in text for i in range(50))


def test_a_bound_too_small_for_any_sentence_is_refused():
    with pytest.raises(ValueError, match=r"at most 199 bytes.* use 200 or more"):
        next(python_docs(199))
