"""Figures worked out by hand, and numbers that do not fit into float32."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.config.settings import Histories
from bld.scoring.history_batch import HistoryBatch, Span, trunk_tree
from bld.scoring.prefixes import HistoryTree
from bld.scoring.search import byte_distributions
from bld.scoring.trie import Trie
from bld.symbols import END, SPECIAL
from bld.tokenization.vocabulary import Vocabulary
from oracle import all_covers

BYTES = Vocabulary(
    (*(bytes([b]) for b in range(256)), None, None), frozenset([256, 257]), frozenset([256])
)
TRUNK = Histories(histories="trunk")


class Rows:
    """A model that gives row r of a table after history r, all at once."""

    max_depth = 1 << 30

    def __init__(self, trie, log_probs_RV):
        self._rows = np.ascontiguousarray(np.asarray(log_probs_RV)[:, trie.ids_I])

    def logits(self, histories, wave):
        yield torch.from_numpy(self._rows[wave])


def run(vocabulary, log_probs_RV, text, tree, trunk, policy=TRUNK, dtype=torch.float64):
    trie = Trie(vocabulary)
    histories = HistoryBatch([Span(text, tree, trunk, sequence=0, column=0)])
    return byte_distributions(trie, histories, Rows(trie, log_probs_RV), policy, dtype)


def run_trunk(vocabulary, log_probs_RV, tokens, dtype=torch.float64):
    text = b"".join(vocabulary.token_bytes[token] for token in tokens)
    tree = trunk_tree(tokens, vocabulary.token_bytes)
    return run(vocabulary, log_probs_RV, text, tree, len(tokens) + 1, dtype=dtype)


def test_a_two_token_turn_gives_the_figures_worked_out_by_hand():
    vocabulary = Vocabulary((b"a", b"b", b"ab", None), frozenset([3]), frozenset([3]))
    # after (), (a), (a, b) and, beside the trunk, (ab)
    rows = np.log(
        [[0.4, 0.2, 0.3, 0.1], [0.2, 0.5, 0.1, 0.2], [0.1, 0.1, 0.2, 0.6], [0.7, 0.1, 0.1, 0.1]]
    )
    tree = HistoryTree(np.array([-1, 0, 1, 2]), np.array([-1, 0, 1, 0]), np.array([0, 1, 2, 2]))
    log_P, lost = run(vocabulary, rows, b"ab", tree, 3)
    # At byte 2 the trunk (a, b) has 0.4 * 0.5, and the history (ab), 0.3, ends there without it.
    np.testing.assert_allclose(lost, [0, 0, 0.3 / (0.3 + 0.4 * 0.5)])
    np.testing.assert_allclose(np.exp(log_P[0, [97, 98, END]]), [0.7, 0.2, 0.1])
    after_a = np.array([0.4 * 0.3, 0.4 * 0.5 + 0.3, 0.4 * 0.2]) / 0.7
    np.testing.assert_allclose(np.exp(log_P[1, [97, 98, END]]), after_a)
    np.testing.assert_allclose(np.exp(log_P[2, [97, 98, END]]), [0.3, 0.1, 0.6])
    for eps, share in [(0.61, 0.6), (0.59, 0)]:
        log_P, lost = run(vocabulary, rows, b"ab", tree, 3, Histories(histories="prefix", eps=eps))
        np.testing.assert_allclose(lost, [0, 0, share])
    both = 0.4 * np.array([0.3, 0.1, 0.6]) + 0.6 * np.array([0.8, 0.1, 0.1])
    np.testing.assert_allclose(np.exp(log_P[2, [97, 98, END]]), both)


def test_ids_that_share_a_symbol_are_summed():
    entries = (b"a", b"a", b"ab", b"ab", None, None, None, b"")
    vocabulary = Vocabulary(entries, frozenset([4, 5, 6]), frozenset([4, 5]))
    row = np.log([0.05, 0.1, 0.15, 0.2, 0.04, 0.06, 0.1, 0.3])
    log_P, lost = run_trunk(vocabulary, [row, row], [1])
    np.testing.assert_allclose(np.exp(log_P[0, [97, END, SPECIAL]]), [0.5, 0.1, 0.4])
    # after a: the trunk's own id has 0.1, the two ids of ab hold 0.35
    after_a = np.array([0.1 * 0.5, 0.35, 0.1 * 0.1, 0.1 * 0.4]) / 0.45
    np.testing.assert_allclose(np.exp(log_P[1, [97, 98, END, SPECIAL]]), after_a)
    assert (lost == 0).all()


def test_with_single_byte_tokens_the_byte_probabilities_are_the_token_probabilities(random_model):
    tokens = list(b"caf\xc3\xa9\x00")
    model = random_model(BYTES, 11)
    rows = np.stack([model(tuple(tokens[:n])) for n in range(len(tokens) + 1)])
    log_P, lost = run_trunk(BYTES, rows, tokens)
    np.testing.assert_allclose(log_P, rows)
    assert (lost == 0).all()


def test_where_only_one_cover_exists_the_trunk_is_all_covers(random_model):
    vocabulary = Vocabulary((b"a", b"b", b"cc", None, None), frozenset([3, 4]), frozenset([4]))
    model, tokens = random_model(vocabulary, 2), [0, 2, 1, 0]
    log_P, lost = run_trunk(vocabulary, [model(tuple(tokens[:n])) for n in range(5)], tokens)
    np.testing.assert_allclose(log_P, all_covers(model, vocabulary, b"accba"), rtol=1e-9)
    assert (lost == 0).all()


def test_the_empty_turn_has_one_row(random_model):
    row = random_model(BYTES, 1)(())
    log_P, lost = run_trunk(BYTES, row[None], [])
    np.testing.assert_allclose(log_P, row[None])
    assert lost.tolist() == [0]


def test_a_turn_of_thousands_of_unlikely_tokens_does_not_underflow():
    random = np.random.default_rng(0)
    tokens = random.integers(0, 256, 3000)
    rows = torch.log_softmax(5 * torch.from_numpy(random.standard_normal((3001, 258))), -1).numpy()
    log_P, lost = run_trunk(BYTES, rows, tokens.tolist(), torch.float32)
    np.testing.assert_allclose(log_P, rows, rtol=1e-5, atol=1e-5)
    assert (lost == 0).all()


def test_float32_keeps_small_probabilities_to_their_last_digits():
    # a thousand words begin with a and hold everything, three with b and hold e^-100
    words = [*(b"a%03d" % n for n in range(1000)), b"bcc", b"bcd", b"bd"]
    vocabulary = Vocabulary((*words, None), frozenset([1003]), frozenset([1003]))
    logits = np.random.default_rng(0).standard_normal(1004)
    logits[1000:1003] -= 100
    row = torch.from_numpy(logits).log_softmax(-1).numpy()
    log_P, _ = run_trunk(vocabulary, [row, row], [1000], torch.float32)
    exact, _ = run_trunk(vocabulary, [row, row], [1000], torch.float64)
    bcc, bcd, bd, end = np.exp(row[1000:])
    assert np.exp(exact[0, ord("b")]) == pytest.approx(bcc + bcd + bd, rel=1e-9)
    assert np.exp(exact[1, ord("c")]) == pytest.approx((bcc + bcd) / (bcc + bcd + bd), rel=1e-9)
    assert np.exp(exact[2, ord("d")]) == pytest.approx(bcd / (bcc + bcd), rel=1e-9)
    assert np.exp(exact[3, END]) == pytest.approx(end, rel=1e-9)
    np.testing.assert_allclose(log_P, exact, rtol=0, atol=1e-5)


def test_what_float32_cannot_hold_at_all_is_nan():
    vocabulary = Vocabulary((b"a", b"bcd", None), frozenset([2]), frozenset([2]))
    row = torch.tensor([0.0, -200.0, -1.0], dtype=torch.float64).log_softmax(-1).numpy()
    log_P, _ = run_trunk(vocabulary, [row, row], [1], torch.float32)
    assert np.isnan(log_P).all(axis=1).tolist() == [False, True, True, False]
    log_P, _ = run_trunk(vocabulary, [row, row], [1], torch.float64)
    np.testing.assert_allclose(log_P[[1, 2], [ord("c"), ord("d")]], 0, atol=1e-12)
    np.testing.assert_allclose(log_P[0, ord("b")], row[1], rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_histories_may_be_more_probable_than_the_trunk_by_any_factor(dtype):
    # The text is spelt by a's, each e^-8, and by aa's, each nearly certain.
    vocabulary = Vocabulary((b"a", b"aa", b"b", None), frozenset([3]), frozenset([3]))
    row = np.log([np.exp(-8), 0.9, 0.05, 0.05 - np.exp(-8)])
    n = 200
    tree = HistoryTree(
        token_R=np.array([-1, *n * [0], *n // 2 * [1]]),
        parent_R=np.array([*range(-1, n), 0, *range(n + 1, n + n // 2)]),
        start_R=np.array([*range(n + 1), *range(2, n + 2, 2)]),
    )
    for policy in Histories(histories="prefix", eps=0), Histories(histories="prefix", eps=1e-3):
        rows = np.tile(row, (len(tree.token_R), 1))
        log_P, lost = run(vocabulary, rows, n * b"a", tree, n + 1, policy, dtype)
        # At even bytes the aa's have it all, at odd ones they are inside an aa.
        np.testing.assert_allclose(log_P[20::2, END], row[3], atol=1e-4)
        np.testing.assert_allclose(log_P[21::2, 97], 0, atol=1e-4)
        assert (lost < 1e-3).all()


@given(data=st.data(), seed=st.integers(0, 2**32), eps=st.sampled_from([1e-3, 0.05, 0.3]))
@settings(deadline=None, max_examples=60)
def test_lost_mass_is_the_weight_of_what_was_dropped_while_it_or_what_follows_may_be_alive(
    toys, random_model, path_reader, symbol_masses, data, seed, eps
):
    toy = data.draw(toys())
    trie, model = Trie(toy.vocabulary), random_model(toy.vocabulary, seed)
    policy = data.draw(st.sampled_from([TRUNK, Histories(histories="prefix", eps=eps)]))
    max_depth = data.draw(st.sampled_from([1 << 30, len(toy.trunk)]))
    reader = path_reader(model, trie, seed, max_depth)
    _, lost = byte_distributions(trie, HistoryBatch([toy.span()]), reader, policy, torch.float64)
    asked = {path[2:] for wave in reader.asked for path in wave}

    def after(tokens):
        return model((0, 0, *tokens))

    def is_alive(history, n):
        word = toy.text[len(toy.spelt(history)) : n]
        entries = [entry or b"" for entry in toy.vocabulary.token_bytes]
        begins = not word or any(entry.startswith(word) for entry in entries)
        return begins and n >= len(toy.spelt(history))

    mass = symbol_masses(after, toy.vocabulary, toy.text, asked).sum(axis=1)

    weight = np.zeros(len(toy.text) + 1)
    for dropped in set(toy.sides) - asked:
        if dropped[:-1] in asked:
            following = [side for side in toy.sides if side[: len(dropped)] == dropped]
            last = max(n for n in range(len(weight)) for side in following if is_alive(side, n))
            p = np.exp(sum(after(dropped[:i])[token] for i, token in enumerate(dropped)))
            weight[len(toy.spelt(dropped)) : last + 1] += p
    weight, mass = weight[: toy.rows], mass[: toy.rows]
    np.testing.assert_allclose(lost[: toy.rows], weight / (weight + mass), rtol=1e-9, atol=1e-12)
