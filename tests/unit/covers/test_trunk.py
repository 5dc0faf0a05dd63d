import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.covers import mixture
from bld.covers.brute_force import all_covers, cover_mass, covers_of_histories
from bld.covers.trie import Trie
from bld.covers.trunk import trunk_distributions
from bld.tokenization.symbols import END, SPECIAL
from bld.tokenization.vocabulary import Vocabulary

BYTES = Vocabulary(
    (*(bytes([b]) for b in range(256)), None, None), frozenset([256, 257]), frozenset([256])
)


@st.composite
def toys(draw) -> tuple[Vocabulary, list[int]]:
    """A vocabulary over two or three bytes, and a trunk: any sequence of its tokens."""
    alphabet = st.sampled_from(draw(st.sampled_from([b"ab", b"\x00a\xff"])))
    word = st.lists(alphabet, min_size=1, max_size=3).map(bytes)
    words = draw(st.lists(word, min_size=2, max_size=7))
    kinds = draw(st.lists(st.sampled_from(["end", "special", "absent"]), max_size=4))
    kinds.append("end")
    entries = draw(st.permutations(words + kinds))
    vocabulary = Vocabulary(
        tuple(e if isinstance(e, bytes) else None for e in entries),
        special=frozenset(i for i, e in enumerate(entries) if e in ("end", "special")),
        end=frozenset(i for i, e in enumerate(entries) if e == "end"),
    )
    content = [i for i, e in enumerate(entries) if isinstance(e, bytes)]
    return vocabulary, draw(st.lists(st.sampled_from(content), max_size=4))


def spelt(vocabulary: Vocabulary, tokens) -> bytes:
    return b"".join(vocabulary.token_bytes[i] for i in tokens)


def run_trunk(vocabulary: Vocabulary, model, tokens) -> tuple[np.ndarray, np.ndarray]:
    rows = np.stack([model(tuple(tokens[:i])) for i in range(len(tokens) + 1)])
    return trunk_distributions(Trie(vocabulary), rows, tokens, spelt(vocabulary, tokens))


def prefixes_of(tokens) -> set[tuple[int, ...]]:
    return {tuple(tokens[:i]) for i in range(len(tokens) + 1)}


@given(toys(), st.integers(0, 2**32))
@settings(deadline=None, max_examples=80)
def test_it_is_the_brute_force_sum_over_the_trunk_histories(random_model, toy, seed):
    vocabulary, tokens = toy
    model = random_model(vocabulary, seed, np.float32)
    log_P, _ = run_trunk(vocabulary, model, tokens)
    text = spelt(vocabulary, tokens)
    expected = covers_of_histories(model, vocabulary, text, prefixes_of(tokens))
    np.testing.assert_allclose(log_P, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.exp(log_P).sum(axis=1), 1, rtol=1e-6)


@given(toys(), st.integers(0, 2**32))
@settings(deadline=None, max_examples=80)
def test_lost_is_the_share_of_the_covers_that_end_at_a_byte_off_the_trunk(random_model, toy, seed):
    vocabulary, tokens = toy
    model = random_model(vocabulary, seed, np.float32)
    _, lost = run_trunk(vocabulary, model, tokens)
    trunk, text = prefixes_of(tokens), spelt(vocabulary, tokens)
    assert lost[0] == 0
    for n in range(1, len(text) + 1):
        dropped = 0.0
        for history in trunk:
            weight = sum(float(model(history[:i])[t]) for i, t in enumerate(history))
            for token, token_bytes in enumerate(vocabulary.token_bytes):
                off = token_bytes and (*history, token) not in trunk
                if off and spelt(vocabulary, history) + token_bytes == text[:n]:
                    dropped += np.exp(weight + model(history)[token])
        known = cover_mass(model, vocabulary, text[:n], trunk)
        assert lost[n] == pytest.approx(dropped / known, rel=1e-5, abs=1e-7)


def test_with_single_byte_tokens_the_byte_probabilities_are_the_token_probabilities(random_model):
    tokens = list(b"caf\xc3\xa9\x00")
    model = random_model(BYTES, 11, np.float32)
    log_P, lost = run_trunk(BYTES, model, tokens)
    expected = [model(tuple(tokens[:n])) for n in range(len(tokens) + 1)]
    np.testing.assert_allclose(log_P, expected, rtol=1e-6)
    assert (lost == 0).all()


def test_where_only_one_cover_exists_it_is_all_covers(random_model):
    vocabulary = Vocabulary((b"a", b"b", b"cc", None, None), frozenset([3, 4]), frozenset([4]))
    model = random_model(vocabulary, 2, np.float32)
    log_P, lost = run_trunk(vocabulary, model, [0, 2, 1, 0])
    np.testing.assert_allclose(log_P, all_covers(model, vocabulary, b"accba"), rtol=1e-6, atol=1e-6)
    assert (lost == 0).all()


def test_a_turn_of_thousands_of_unlikely_tokens_does_not_underflow():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 256, 3000)
    rows = torch.log_softmax(5 * torch.from_numpy(rng.standard_normal((3001, 258))).float(), -1)
    log_P, lost = trunk_distributions(Trie(BYTES), rows, tokens.tolist(), bytes(tokens.tolist()))
    np.testing.assert_allclose(log_P, rows.numpy(), rtol=1e-6, atol=1e-6)
    assert (lost == 0).all()


@pytest.mark.parametrize("elements", [1, 20])
def test_how_many_rows_are_summed_at_a_time_changes_nothing(random_model, monkeypatch, elements):
    entries = (b"a", b"b", b"ab", b"abb", b"bba", None)
    vocabulary = Vocabulary(entries, frozenset([5]), frozenset([5]))
    model, tokens = random_model(vocabulary, 4, np.float32), [0, 1, 3, 0, 4]
    log_P, lost = run_trunk(vocabulary, model, tokens)
    monkeypatch.setattr(mixture, "BLOCK_ELEMENTS", elements)
    for whole, in_blocks in zip((log_P, lost), run_trunk(vocabulary, model, tokens), strict=True):
        np.testing.assert_array_equal(whole, in_blocks)


def test_a_two_token_turn_loses_the_share_worked_out_by_hand():
    vocabulary = Vocabulary((b"a", b"b", b"ab", None), frozenset([3]), frozenset([3]))
    rows = np.log([[0.4, 0.2, 0.3, 0.1], [0.2, 0.5, 0.1, 0.2], [0.1, 0.1, 0.2, 0.6]])
    log_P, lost = trunk_distributions(Trie(vocabulary), rows.astype(np.float32), [0, 1], b"ab")
    # At byte 2 the trunk (a, b) has 0.4 * 0.5, and the token ab, 0.3, ends there without it.
    np.testing.assert_allclose(lost, [0, 0, 0.3 / (0.3 + 0.4 * 0.5)], rtol=1e-6)
    after_a = np.array([0.4 * 0.3, 0.4 * 0.5 + 0.3, 0.4 * 0.2]) / 0.7
    np.testing.assert_allclose(np.exp(log_P[1, [97, 98, END]]), after_a, rtol=1e-6)
    np.testing.assert_allclose(np.exp(log_P[2, [97, 98, END]]), [0.3, 0.1, 0.6], rtol=1e-6)


def test_ids_that_share_a_symbol_are_summed():
    entries = (b"a", b"a", b"ab", b"ab", None, None, None, None)
    vocabulary = Vocabulary(entries, frozenset([4, 5, 6, 7]), frozenset([4, 5]))
    row = np.array([0.05, 0.1, 0.15, 0.2, 0.04, 0.06, 0.1, 0.3])
    log_rows = np.log(np.stack([row, row])).astype(np.float32)
    log_P, lost = trunk_distributions(Trie(vocabulary), log_rows, [1], b"a")
    np.testing.assert_allclose(np.exp(log_P[0, [97, END, SPECIAL]]), [0.5, 0.1, 0.4], rtol=1e-6)
    # after a: the trunk's own id has 0.1, its twin 0.05 is dropped, the two ids of ab hold 0.35
    after_a = np.array([0.1 * 0.5, 0.35, 0.1 * 0.1, 0.1 * 0.4]) / 0.45
    np.testing.assert_allclose(np.exp(log_P[1, [97, 98, END, SPECIAL]]), after_a, rtol=1e-6)
    np.testing.assert_allclose(lost, [0, 0.05 / 0.5], rtol=1e-6)


def test_the_empty_turn_has_one_row(random_model):
    log_P, lost = run_trunk(BYTES, random_model(BYTES, 1, np.float32), [])
    assert log_P.shape == (1, 258) and lost.tolist() == [0]
    assert log_P.dtype == lost.dtype == np.float32


@pytest.mark.parametrize(
    ("tokens", "text", "message"),
    [
        ([0, 2], b"aba", r"token 1 .*\(id 2\) spells b'ab', but the text has b'ba' at byte 1"),
        ([0, 1], b"abba", r"spell the first 2 bytes of a text of 4; b'ba' is left"),
        ([0, 2], b"aa", r"token 1 .*\(id 2\) spells b'ab', but the text has b'a' at byte 1"),
        ([0, 3], b"a", r"token 1 .*\(id 3\), at byte 1 of the text, spells no bytes"),
    ],
)
def test_tokens_that_do_not_spell_the_text_are_refused_with_the_place(tokens, text, message):
    vocabulary = Vocabulary((b"a", b"b", b"ab", None), frozenset([3]), frozenset([3]))
    with pytest.raises(ValueError, match=message):
        trunk_distributions(Trie(vocabulary), np.full((3, 4), np.log(0.25)), tokens[:2], text)


def test_rows_that_do_not_fit_the_turn_are_refused():
    with pytest.raises(ValueError, match=r"expected shape \(2, 258\).*found \(1, 258\)"):
        trunk_distributions(Trie(BYTES), np.zeros((1, 258)), [97], b"a")


def test_a_trunk_token_without_probability_is_refused():
    rows = np.log(np.full((2, 258), 1 / 257, np.float32))
    rows[:, 97] = -np.inf
    with pytest.raises(ValueError, match=r"token 0 .*\(id 97\): its log-probability is -inf"):
        trunk_distributions(Trie(BYTES), rows, [97], b"a")


def test_mass_on_absent_ids_is_an_error():
    vocabulary = Vocabulary((b"a", None, None), frozenset([1]), frozenset([1]))
    rows = np.log(np.array([[0.5, 0.499, 0.001]], np.float32))
    with pytest.raises(AssertionError, match=r"row 0 .* sums to 0\.99900"):
        trunk_distributions(Trie(vocabulary), rows, [], b"")
