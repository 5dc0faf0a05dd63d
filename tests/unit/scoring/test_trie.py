from collections import defaultdict

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bld.arrays import ragged_range
from bld.scoring.trie import Trie
from bld.symbols import END, SPECIAL
from bld.tokenization.vocabulary import Vocabulary

ANY_BYTES = st.binary(min_size=1, max_size=5)
FEW_BYTES = st.lists(st.sampled_from([0x00, 0x61, 0xFF]), min_size=1, max_size=4).map(bytes)


@st.composite
def vocabularies(draw) -> Vocabulary:
    spelt = draw(st.lists(st.one_of(FEW_BYTES, ANY_BYTES), max_size=25))
    spelt += draw(st.sampled_from([[], [bytes([b]) for b in range(256)]]))
    kinds = draw(st.lists(st.sampled_from(["end", "special", "absent", "empty"]), max_size=6))
    entries = draw(st.permutations(spelt + kinds)) if len(spelt) < 99 else kinds + spelt
    return Vocabulary(
        tuple({"empty": b""}.get(e, e if isinstance(e, bytes) else None) for e in entries),
        special=frozenset(i for i, e in enumerate(entries) if e in ("end", "special")),
        end=frozenset(i for i, e in enumerate(entries) if e == "end"),
    )


def naive_prefixes(vocabulary: Vocabulary) -> dict[tuple[int, ...], list[tuple[int, tuple]]]:
    """Every prefix of every symbol string -> the (id, symbol string) that begin with it."""
    prefixes = defaultdict(list)
    for i, spelt in enumerate(vocabulary.token_bytes):
        if i in vocabulary.end:
            symbols = (END,)
        elif i in vocabulary.special or spelt == b"":
            symbols = (SPECIAL,)
        elif spelt is None:
            continue
        else:
            symbols = tuple(spelt)
        for depth in range(len(symbols) + 1):
            prefixes[symbols[:depth]].append((i, symbols))
    return prefixes or {(): []}


def node_of(trie: Trie, symbols: tuple[int, ...]) -> int:
    node = np.array([0])
    for symbol in symbols:
        node = trie.step(node, np.array([symbol]))
    return int(node[0])


@given(vocabularies())
@example(Vocabulary((), frozenset(), frozenset()))
@example(Vocabulary((None, None), frozenset([1]), frozenset([1])))
@settings(deadline=None, max_examples=60)
def test_nodes_ranges_and_edges_agree_with_a_dictionary_of_prefixes(vocabulary):
    trie, prefixes = Trie(vocabulary), naive_prefixes(vocabulary)
    assert len(trie) == len(prefixes)
    for prefix, tokens in prefixes.items():
        node = node_of(trie, prefix)
        lo, exact_hi, hi = trie.lo_M[node], trie.exact_hi_M[node], trie.hi_M[node]
        assert sorted(trie.ids_I[lo:hi]) == [i for i, _ in tokens]
        assert sorted(trie.ids_I[lo:exact_hi]) == [i for i, symbols in tokens if symbols == prefix]
        edges = slice(trie.first_edge_M1[node], trie.first_edge_M1[node + 1])
        following = sorted({symbols[len(prefix)] for _, symbols in tokens if symbols != prefix})
        assert trie.edge_symbol_E[edges].tolist() == following
        for edge, symbol in zip(range(edges.start, edges.stop), following, strict=True):
            assert node_of(trie, (*prefix, symbol)) == edge + 1


@given(vocabularies(), st.data())
@settings(deadline=None, max_examples=60)
def test_many_positions_step_at_once_and_find_no_child_where_there_is_none(vocabulary, data):
    trie, prefixes = Trie(vocabulary), naive_prefixes(vocabulary)
    sample = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(sorted(prefixes)), st.sampled_from([0, 1, 0x61, 0xFF, END, SPECIAL])
            ),
            max_size=20,
        )
    )
    nodes = np.array([node_of(trie, prefix) for prefix, _ in sample], int)
    children = trie.step(nodes, np.array([symbol for _, symbol in sample], int))
    for child, (prefix, symbol) in zip(children, sample, strict=True):
        known = (*prefix, symbol) in prefixes
        assert child == (node_of(trie, (*prefix, symbol)) if known else -1)


@given(vocabularies(), st.data())
@settings(deadline=None, max_examples=60)
def test_a_walk_lists_every_byte_up_to_which_the_text_is_a_path_and_ends_at_its_stop(
    vocabulary, data
):
    trie, prefixes = Trie(vocabulary), naive_prefixes(vocabulary)
    text = b"".join(data.draw(st.lists(st.one_of(FEW_BYTES, ANY_BYTES), max_size=4)))
    ends = st.lists(st.integers(0, len(text)), min_size=2, max_size=2).map(sorted)
    ranges = data.draw(st.lists(ends, max_size=6))
    start, stop = np.array(ranges, int).reshape(-1, 2).T
    alive = trie.walk(text, start, stop)
    found = sorted(zip(alive.history_A, alive.position_A, alive.node_A, strict=True))
    assert found == [
        (history, n, node_of(trie, tuple(text[first:n])))
        for history, (first, last) in enumerate(ranges)
        for n in range(first, last + 1)
        if tuple(text[first:n]) in prefixes
    ]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=8))
def test_ragged_ranges_are_the_python_ranges_end_to_end(ranges):
    start = np.array([a for a, _ in ranges], int)
    size = np.array([b for _, b in ranges], int)
    owner, values = ragged_range(start, start + size)
    expected = [(k, v) for k, (a, b) in enumerate(ranges) for v in range(a, a + b)]
    assert list(zip(owner, values, strict=True)) == expected
