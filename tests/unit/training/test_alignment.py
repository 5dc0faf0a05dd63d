import itertools
from types import SimpleNamespace

import torch
from hypothesis import given
from hypothesis import strategies as st

from bld.training.alignment import chunks, same_spans


def stretches(cuts, left_out):
    """Neighbouring stretches between cuts, without those that are left out."""
    both = itertools.pairwise(cuts)
    return [(a, b) for number, (a, b) in enumerate(both) if number not in left_out]


@st.composite
def two_ways(draw):
    """So many symbols, spelt by two lists of stretches that may leave some out."""
    size = draw(st.integers(1, 24))
    ways = []
    for _ in range(2):
        inner = draw(st.sets(st.integers(1, size)))
        cuts = sorted({0, size} | inner)
        ways.append(stretches(cuts, draw(st.sets(st.integers(0, len(cuts)), max_size=3))))
    return size, *ways


def batch_of(size, student, teacher):
    def columns(way):
        pairs = torch.tensor(way, dtype=torch.long).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1] - pairs[:, 0]

    (symbol_S, count_S), (symbol_U, count_U) = columns(student), columns(teacher)
    tokens = SimpleNamespace(symbol_U=symbol_U, count_U=count_U)
    return SimpleNamespace(
        symbol_S=symbol_S,
        count_S=count_S,
        symbols_N=torch.zeros(size, dtype=torch.long),
        teacher_tokens=tokens,
    )


@given(two_ways())
def test_the_same_spans_are_those_that_stand_in_both_lists(case):
    _, student, teacher = case
    s, u = same_spans(batch_of(*case))
    assert [student[i] for i in s] == [teacher[i] for i in u] == sorted({*student} & {*teacher})


def smallest_common_stretches(student, teacher):
    """Symbol by symbol: grow from every start until both end at once, or one leaves a symbol
    out."""
    found = []
    spelt = [{n for a, b in way for n in range(a, b)} for way in (student, teacher)]
    edges = [{n for pair in way for n in pair} for way in (student, teacher)]
    common = sorted(edges[0] & edges[1])
    for a, b in itertools.pairwise(common):
        if all(n in spelt[0] and n in spelt[1] for n in range(a, b)):
            found.append((a, b))
    return found


@given(two_ways())
def test_chunks_are_the_smallest_stretches_that_both_begin_and_end(case):
    _, student, teacher = case
    found = chunks(batch_of(*case))
    expected = smallest_common_stretches(student, teacher)
    assert found.count == len(expected)
    for way, of in ((student, found.of_S), (teacher, found.of_U)):
        inside = [
            next((c for c, (a, b) in enumerate(expected) if a <= start and stop <= b), -1)
            for start, stop in way
        ]
        assert of.tolist() == inside


def test_with_one_way_to_spell_every_token_is_a_chunk():
    way = [(0, 3), (3, 4), (4, 9)]
    found = chunks(batch_of(9, way, way))
    assert found.of_S.tolist() == found.of_U.tolist() == [0, 1, 2]


def test_of_nothing_there_are_no_chunks():
    found = chunks(batch_of(0, [], []))
    assert found.count == len(found.of_S) == len(found.of_U) == 0
