import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.scoring.history_batch import HistoryBatch
from bld.scoring.marginal import KEPT_BLOCKS, Sums, marginal, vocabulary_of
from bld.scoring.trie import Trie
from bld.symbols import END, MIN_PROBABILITY, SPECIAL, SYMBOLS
from bld.tokenization.vocabulary import Vocabulary

HIDDEN = 5


def logits_of(hidden, weight, bias, cap):
    """The output head, written out."""
    logits = hidden @ weight.T
    if bias is not None:
        logits = logits + bias
    return logits if cap is None else cap * torch.tanh(logits / cap)


def by_hand(toys, asked, hidden, weight, bias, cap):
    """Every distribution as a sum over histories and tokens, one path at a time."""
    vocabulary = toys[0].vocabulary
    known = [i for i, b in enumerate(vocabulary.token_bytes) if b is not None]
    known += sorted(vocabulary.special)
    logits = logits_of(hidden, weight, bias, cap)
    log_p = logits - logits[:, known].logsumexp(1, keepdim=True)
    places, rows = places_of(toys), []
    for number, toy in enumerate(toys):
        mass = [[[] for _ in range(SYMBOLS)] for _ in range(len(toy.text) + 1)]
        for history in toy.histories:
            weighed = [log_p[places[number, history[:i]], t] for i, t in enumerate(history)]
            log_weight = sum(weighed, torch.zeros((), dtype=hidden.dtype))
            start, here = len(toy.spelt(history)), places[number, history]
            for token in known:
                term = (log_weight + log_p[here, token]).exp()
                for n, symbol in tells(vocabulary, token, toy.text, start):
                    mass[n][symbol].append(term)
        nothing = torch.zeros((), dtype=hidden.dtype)
        table = torch.stack([torch.stack([sum(m, nothing) for m in row]) for row in mass])
        # The row after a span that is not whole is nobody's.
        rows.append((table / table.sum(1, keepdim=True))[: toy.rows])
    tokens = logits.log_softmax(1)[asked >= 0, asked[asked >= 0]]
    return torch.cat(rows), tokens


def tells(vocabulary, token, text, start):
    """(row, symbol) about which a token after a history that ends at `start` tells something."""
    entry = vocabulary.token_bytes[token]
    if not entry:
        return [(start, END if token in vocabulary.end else SPECIAL)]
    spelt = [n for n in range(len(entry)) if start + n <= len(text)]
    return [(start + n, entry[n]) for n in spelt if text[start : start + n] == entry[:n]]


def places_of(toys):
    """(toy, path) -> number of the history: all trunks first."""
    order = [(number, path) for number, toy in enumerate(toys) for path in toy.trunk]
    order += [(number, path) for number, toy in enumerate(toys) for path in toy.sides]
    return {key: place for place, key in enumerate(order)}


def sums_of(toys, logits, asked):
    histories = HistoryBatch([toy.span(sequence=number) for number, toy in enumerate(toys)])
    return Sums(vocabulary_of(Trie(toys[0].vocabulary), logits), histories, asked)


class Case:
    """Random hidden states and an output head, maybe padded, biased and capped."""

    def __init__(self, toys, seed, padding=0, biased=False, cap=None, scale=1.0):
        self.toys, self.cap = toys, cap
        random = np.random.default_rng(seed)
        size = len(toys[0].vocabulary) + padding
        histories = sum(len(toy.histories) for toy in toys)
        shapes = [(histories, HIDDEN), (size, HIDDEN), (size,)]
        drawn = [torch.from_numpy(scale * random.standard_normal(shape)) for shape in shapes]
        self.given = [*drawn[:2], drawn[2] if biased else None]
        self.asked = np.where(
            random.random(histories) < 0.7, random.integers(size, size=histories), -1
        )
        self.sums = sums_of(toys, size, self.asked)
        self.random = random

    def leaves(self, dtype):
        return [None if x is None else x.to(dtype).requires_grad_() for x in self.given]

    def found(self, leaves, **how):
        rows, tokens = marginal(self.sums, *leaves, self.cap, **how)
        first = np.cumsum([0, *(len(toy.text) + 1 for toy in self.toys)])
        owned = [rows[at : at + toy.rows] for at, toy in zip(first, self.toys, strict=False)]
        return torch.cat(owned), tokens

    def expected(self, leaves):
        return by_hand(self.toys, self.asked, *leaves, self.cap)


@pytest.fixture(scope="module")
def cases(toys, vocabularies):
    @st.composite
    def cases(draw, scales=(0.3, 2.0)):
        vocabulary = draw(vocabularies())
        some = draw(st.lists(toys(vocabulary), min_size=1, max_size=3))
        return Case(
            some,
            draw(st.integers(0, 2**32)),
            draw(st.sampled_from([0, 3])),
            draw(st.booleans()),
            draw(st.sampled_from([None, 1.5])),
            draw(st.sampled_from(scales)),
        )

    return cases()


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_row_is_the_sum_over_its_histories_and_their_tokens(cases, data):
    case = data.draw(cases)
    rows, tokens = case.found(case.leaves(torch.float32))
    probs_NS, token_log_probs = case.expected(case.leaves(torch.float64))
    assert rows.dtype == tokens.dtype == torch.float32
    torch.testing.assert_close(
        rows.exp().double(), probs_NS.clamp_min(MIN_PROBABILITY), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(tokens.double(), token_log_probs, atol=1e-4, rtol=1e-5)


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_the_gradients_are_those_of_the_sums_written_out_in_float64(cases, data):
    case = data.draw(cases)
    ours, dense = case.leaves(torch.float32), case.leaves(torch.float64)
    (rows, tokens), (probs_NS, token_log_probs) = case.found(ours), case.expected(dense)
    # Any mixture of the outputs that are finite.
    factors_NS = torch.from_numpy(case.random.standard_normal(probs_NS.shape))
    factors_NS *= probs_NS > MIN_PROBABILITY
    factors = torch.from_numpy(case.random.standard_normal(len(token_log_probs)))
    log_probs_NS = torch.where(probs_NS > 0, probs_NS, 1.0).log()
    ((factors_NS * log_probs_NS).sum() + (factors * token_log_probs).sum()).backward()
    ((factors_NS.float() * rows).sum() + (factors.float() * tokens).sum()).backward()
    for mine, theirs in zip(ours, dense, strict=True):
        if mine is not None:
            size = 1 + float(theirs.grad.abs().max())
            torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=0, atol=3e-5 * size)


@given(data=st.data())
@settings(deadline=None, max_examples=30)
def test_blocks_of_any_size_give_the_same(cases, data):
    case, found = data.draw(cases), []
    for size in (1, 2, 1 << 20):
        leaves = case.leaves(torch.float32)
        rows, tokens = case.found(leaves, block_rows=size)
        (rows[:, 97].sum() + tokens.sum()).backward()
        found.append([rows, tokens, *(leaf.grad for leaf in leaves if leaf is not None)])
    for others in found[:2]:
        for one, other in zip(found[2], others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


LETTERS = Vocabulary((b"a", b"b", b"ab", None, None), frozenset({3}), frozenset({3}))


@pytest.fixture
def letters(random_toy):
    """logits [history, token] -> log-probabilities; "ab" as a and b, or as one token."""
    toy = random_toy(LETTERS, b"ab", 0)
    names = {(): "", (0,): "a", (0, 1): "a b", (2,): "ab"}
    numbers = {names[path]: place for (_, path), place in places_of([toy]).items()}

    def run(**logits):
        table = torch.zeros(len(numbers), 5)
        for name, values in logits.items():
            table[numbers[name.replace("_", " ").strip()]] = torch.tensor(values)
        leaf = table.requires_grad_()
        sums = sums_of([toy], 5, np.full(len(numbers), -1))
        return marginal(sums, leaf, torch.eye(5)).byte_log_probs_NS, leaf

    return run


def test_a_light_history_decides_where_the_heavy_one_has_nothing_to_say(letters):
    # "ab" has e^-50 at first, but after "a" another b has e^-120 only.
    found, leaf = letters(_=[0.0, -200, -50, -200, 0], a=[0.0, -120, -200, -200, 0])
    assert found[1, ord("b")].item() == pytest.approx(-50, abs=1e-3)
    found[1, ord("b")].backward()
    assert torch.isfinite(leaf.grad).all() and leaf.grad.abs().sum() > 0.5


def test_what_is_impossible_costs_much_but_not_everything(letters):
    found, leaf = letters()
    assert found[0, ord("z")].item() == pytest.approx(np.log(MIN_PROBABILITY), rel=1e-5)
    (found[0, ord("z")] * 1e6).backward()
    assert not leaf.grad.any()


@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
def test_huge_logits_give_finite_losses_and_gradients(letters, size):
    found, leaf = letters(_=[size, -size, 0, -size, size], a=[-size, size, -size, size, 0])
    found.sum().backward()
    assert torch.isfinite(found).all() and torch.isfinite(leaf.grad).all()


def test_logits_without_an_entry_take_no_probability_from_the_bytes(letters):
    found = [letters(_=[1.0, 0, 0, 0, other])[0] for other in (-30.0, 30.0)]
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


def test_no_more_than_a_few_blocks_are_kept_for_the_backward_pass(random_toy):
    toy = random_toy(LETTERS, 12 * b"ab", 0)
    case, kept = Case([toy], 0, padding=1000), []
    rows, size = len(case.given[0]), len(case.given[1])
    others = max(rows * SYMBOLS, size * HIDDEN)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.append(tuple(x.shape)) or x, lambda x: x
    ):
        case.found(case.leaves(torch.float32), block_rows=2)
    blocks = [shape for shape in kept if shape == (2, size)]
    assert len(blocks) == KEPT_BLOCKS < rows / 2
    assert all(np.prod(shape) <= others < rows * size for shape in kept)
