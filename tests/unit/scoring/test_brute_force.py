from itertools import product
from math import exp, log

import numpy as np
import pytest

from bld.symbols import END, SPECIAL
from bld.tokenization.vocabulary import Vocabulary
from oracle import all_covers, cover_mass, covers_of_histories, spellings

# a, b, ab, ab again, end, special, absent, baa, another end, empty
VOCABULARY = Vocabulary(
    (b"a", b"b", b"ab", b"ab", None, None, None, b"baa", None, b""),
    special=frozenset([4, 5, 8]),
    end=frozenset([4, 8]),
)
TEXTS = [b"", b"a", b"abaab", b"bbaba"]


@pytest.mark.parametrize("text", TEXTS)
def test_the_conditionals_multiply_to_the_probability_of_all_spellings_that_end(random_model, text):
    model = random_model(VOCABULARY, 7)
    log_P = all_covers(model, VOCABULARY, text)
    symbols = [*text, END]
    total = 0.0
    for length in range(len(text) + 1):
        for tokens in product([0, 1, 2, 3, 7], repeat=length):
            if b"".join(VOCABULARY.token_bytes[i] for i in tokens) == text:
                path = sum(model(tokens[:i])[t] for i, t in enumerate(tokens))
                total += exp(path) * sum(exp(model(tokens)[end]) for end in (4, 8))
    assert sum(log_P[n, s] for n, s in enumerate(symbols)) == pytest.approx(log(total), rel=1e-9)


@pytest.mark.parametrize("text", TEXTS)
def test_the_ratios_of_all_covers_sum_to_one(random_model, text):
    log_P = all_covers(random_model(VOCABULARY, 3), VOCABULARY, text)
    np.testing.assert_allclose(np.exp(log_P).sum(axis=1), 1, rtol=1e-6)


def test_restricted_to_every_spelling_of_every_prefix_it_is_all_covers(random_model):
    model, text = random_model(VOCABULARY, 5), b"abaab"
    everything = {h for n in range(len(text) + 1) for h in spellings(VOCABULARY, text[:n])}
    restricted = covers_of_histories(model, VOCABULARY, text, everything)
    np.testing.assert_allclose(restricted, all_covers(model, VOCABULARY, text), rtol=1e-6)


def test_a_two_token_text_gives_the_figures_worked_out_by_hand():
    vocabulary = Vocabulary((b"a", b"b", b"ab", None, None), frozenset([3, 4]), frozenset([3]))
    rows = {
        (): [0.4, 0.1, 0.3, 0.15, 0.05],
        (0,): [0.2, 0.5, 0.1, 0.1, 0.1],
        (0, 1): [0.1, 0.1, 0.2, 0.5, 0.1],
        (2,): [0.3, 0.3, 0.1, 0.2, 0.1],
    }

    def model(tokens):
        return np.log(rows[tokens])

    P = np.exp(all_covers(model, vocabulary, b"ab"))
    np.testing.assert_allclose(P[0, [97, 98, END, SPECIAL]], [0.7, 0.1, 0.15, 0.05])
    # after a: 0.4 from the history (a), 0.3 from the token ab, which goes on with b
    one = np.array([0.4 * 0.3, 0.4 * 0.5 + 0.3, 0.4 * 0.1, 0.4 * 0.1]) / 0.7
    np.testing.assert_allclose(P[1, [97, 98, END, SPECIAL]], one)
    # after ab: 0.4 * 0.5 from (a, b), 0.3 from (ab)
    two = np.array([0.2 * 0.3 + 0.3 * 0.4, 0.2 * 0.1 + 0.3 * 0.3, 0.2 * 0.5 + 0.3 * 0.2, 0.05])
    np.testing.assert_allclose(P[2, [97, 98, END, SPECIAL]], two / 0.5)
    assert cover_mass(model, vocabulary, b"ab") == pytest.approx(0.5)
    assert cover_mass(model, vocabulary, b"ab", {()}) == pytest.approx(0.3)
