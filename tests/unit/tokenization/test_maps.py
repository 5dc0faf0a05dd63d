from collections import defaultdict
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.tokenization.maps.files import load_map, map_of, same_spelling, save_map
from bld.tokenization.maps.mined import closest_entries
from bld.tokenization.maps.x_token import make_map as x_token_map
from bld.tokenization.rendering import Renderer
from bld.tokenization.vocabulary import Vocabulary, spelt

KINDS = [
    *("byte-level BPE", "SentencePiece BPE", "Unigram", "bytes", "GPT-NeoX style"),
    *("Gemma 2 style", "Llama 3 style", "unused ids"),
]


@pytest.fixture(scope="module")
def renderers(tokenizers):
    return {kind: Renderer(tokenizer) for kind, tokenizer in tokenizers.items()}


def triples(pairs):
    return list(zip(*(column.tolist() for column in pairs), strict=True))


def rows_of(pairs):
    """student -> {teacher: weight}"""
    rows = defaultdict(dict)
    for student, teacher, weight in triples(pairs):
        rows[student][teacher] = weight
    return rows


def test_two_equal_tokenizers_are_mapped_by_the_identity(renderer):
    spelling = sorted(spelt(renderer.vocabulary))
    identity = [(token_id, token_id, 1.0) for token_id in spelling]
    assert triples(x_token_map(renderer, renderer)) == identity
    assert triples(closest_entries(renderer.vocabulary, renderer.vocabulary)) == identity


@settings(deadline=None, max_examples=25)
@given(student=st.sampled_from(KINDS), teacher=st.sampled_from(KINDS))
def test_w_has_a_row_of_at_most_four_for_every_id_that_spells_or_ends_and_for_no_other(
    renderers, student, teacher
):
    student, teacher = renderers[student], renderers[teacher]
    rows = rows_of(x_token_map(student, teacher))
    assert rows.keys() == spelt(student.vocabulary).keys()
    assert {t for row in rows.values() for t in row} <= spelt(teacher.vocabulary).keys()
    for token_id, row in rows.items():
        assert 1 <= len(row) <= 4 and min(row.values()) > 0
        assert sum(row.values()) == pytest.approx(1, abs=1e-6)
        is_end = token_id in student.vocabulary.end
        assert {t in teacher.vocabulary.end for t in row} == {is_end}
        text = student.vocabulary.token_bytes[token_id]
        if not is_end and text in teacher.ids_by_bytes:
            assert [teacher.vocabulary.token_bytes[t] for t in row] == [text]
            assert list(row.values()) == [1.0]


def test_an_entry_that_the_teacher_lacks_goes_to_the_tokens_that_the_library_cuts_it_into(
    plain, renderer, renderers
):
    student = renderers["byte-level BPE"]
    rows, checked = rows_of(x_token_map(student, renderer)), 0
    for token_id, (is_end, text) in spelt(student.vocabulary).items():
        if is_end or text in renderer.ids_by_bytes or not is_text(text):
            continue
        tokens = plain.encode(text.decode(), add_special_tokens=False).ids
        expected = defaultdict(float)
        for place, token in enumerate(tokens[:4]):
            expected[token] += (0.9, 0.09, 0.009, 0.0009)[place]
        total = sum(expected.values())
        assert rows[token_id] == pytest.approx({t: w / total for t, w in expected.items()})
        checked += 1
    assert checked or renderer.ids_by_bytes.keys() >= student.ids_by_bytes.keys()


def is_text(text):
    try:
        return bool(text.decode())
    except UnicodeDecodeError:
        return False


def test_a_token_of_bytes_goes_to_its_first_four_bytes(renderers):
    student, teacher = renderers["byte-level BPE"], renderers["bytes"]
    rows = rows_of(x_token_map(student, teacher))
    found = rows[student.ids_by_bytes[b"return"]]
    # r e t u, and the first counts most: 1000, 100, 10 and 1 parts of 1111
    parts = {b"r": 1000, b"e": 100, b"t": 10, b"u": 1}
    expected = {teacher.ids_by_bytes[byte]: part / 1111 for byte, part in parts.items()}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["Unigram", "bytes", "byte-level BPE"])
def test_renumbering_a_vocabulary_renumbers_its_maps(renderers, kind):
    # The kind with unused ids is the byte-level one, with 2 i + 1 in place of i.
    one, renumbered, other = (renderers[k] for k in ("byte-level BPE", "unused ids", kind))
    as_student = [(2 * s + 1, t, w) for s, t, w in triples(x_token_map(one, other))]
    assert triples(x_token_map(renumbered, other)) == as_student
    as_teacher = [(s, 2 * t + 1, w) for s, t, w in triples(x_token_map(other, one))]
    assert triples(x_token_map(other, renumbered)) == as_teacher
    vocabularies = [r.vocabulary for r in (one, renumbered, other)]
    closest = triples(closest_entries(vocabularies[0], vocabularies[2]))
    as_student = [(2 * s + 1, t, w) for s, t, w in closest]
    assert triples(closest_entries(vocabularies[1], vocabularies[2])) == as_student


@cache
def edits(one, other):
    """The edit distance, as its definition has it."""
    if not one or not other:
        return len(one) + len(other)
    return min(
        edits(one[1:], other) + 1,
        edits(one, other[1:]) + 1,
        edits(one[1:], other[1:]) + (one[0] != other[0]),
    )


@st.composite
def vocabularies(draw):
    """Entries over a few bytes, some spelt twice, among special and absent ids."""
    texts = draw(st.lists(st.binary(max_size=5).map(few), min_size=1, max_size=9))
    entries = draw(st.permutations([*texts, b"a", None, None, None]))
    nothing = [i for i, text in enumerate(entries) if not text]
    ends = draw(st.integers(1, len(nothing)))
    special = nothing[: draw(st.integers(ends, len(nothing)))]
    return Vocabulary(
        tuple(text or None for text in entries), frozenset(special), frozenset(nothing[:ends])
    )


def few(text):
    return bytes(97 + byte % 3 for byte in text)


@settings(deadline=None, max_examples=150)
@given(vocabularies(), vocabularies())
def test_the_mined_map_gives_every_entry_of_the_teacher_the_closest_then_shortest_then_first(
    student, teacher
):
    found = triples(closest_entries(student, teacher))
    assert found == sorted(found) and {weight for *_, weight in found} == {1.0}
    student_of = {teacher_id: student_id for student_id, teacher_id, _ in found}
    assert student_of.keys() == spelt(teacher).keys()
    candidates = [(i, text) for i, text in enumerate(student.token_bytes) if text]
    for teacher_id, student_id in student_of.items():
        if teacher_id in teacher.end:
            assert student_id in student.end
            continue
        text = teacher.token_bytes[teacher_id]
        order = sorted((edits(text, other), len(other), i) for i, other in candidates)
        assert (*order[0][:2], student_id) in order
        if order[0][0] > 0:
            assert student_id == order[0][2]


@given(vocabularies(), vocabularies())
def test_of_several_entries_that_spell_the_same_the_first_go_together_and_so_on(source, target):
    pairs = dict(same_spelling(source, target))
    for text in set(spelt(source).values()):
        theirs = [i for i, other in spelt(target).items() if other == text]
        ours = [pairs.get(i) for i, other in spelt(source).items() if other == text]
        padded = theirs + theirs[-1:] * len(ours) if theirs else [None] * len(ours)
        assert ours == padded[: len(ours)]


def test_a_map_is_kept_in_order_and_read_back(tmp_path):
    path = tmp_path / "deep/map.parquet"
    save_map(path, map_of([(3, 1, 0.5), (0, 7, 1.0), (3, 0, 0.5)]))
    found = load_map(path)
    assert triples(found) == [(0, 7, 1.0), (3, 0, 0.5), (3, 1, 0.5)]
    assert [column.dtype for column in found] == [np.int32, np.int32, np.float32]
    assert all(one <= two for one, two in pairwise(found.student_M))
    assert [p.name for p in path.parent.iterdir()] == ["map.parquet"]


@pytest.mark.parametrize("content", [None, b"PAR1 is not all of it"])
def test_a_map_that_is_missing_or_damaged_is_named(tmp_path, content):
    path = tmp_path / "map.parquet"
    if content:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"map\.parquet: not a whole vocabulary map .*make it"):
        load_map(path)
