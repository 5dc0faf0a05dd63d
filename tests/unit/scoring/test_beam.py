"""Which histories are kept: the rules of eps and width, replayed one history at a time."""

from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.config.settings import Histories
from bld.scoring.history_batch import HistoryBatch, Span, trunk_tree
from bld.scoring.search import byte_distributions
from bld.scoring.trie import Trie
from bld.tokenization.vocabulary import Vocabulary

ALL = 1 << 30
SEEDS = st.integers(0, 2**32)


@pytest.fixture(scope="session")
def kept(random_model, path_reader):
    """(toy, policy, seed) -> the histories asked for, wave by wave, and the lost mass."""

    def kept(toy, policy, seed, max_depth=ALL):
        trie, model = Trie(toy.vocabulary), random_model(toy.vocabulary, seed)
        reader = path_reader(model, trie, seed, max_depth)
        span = toy.span()
        if policy.histories == "beam":
            tree = trunk_tree(toy.trunk[-1], toy.vocabulary.token_bytes)
            span = span._replace(tree=tree)
        _, lost = byte_distributions(trie, HistoryBatch([span]), reader, policy, torch.float64)
        return [{path[2:] for path in wave} for wave in reader.asked], lost[: toy.rows]

    return kept


@pytest.fixture(scope="session")
def dense_toy(random_toy):
    """seed -> all one- to three-letter words of a two-letter alphabet, and all ways to spell."""
    words = [bytes(word) for size in (1, 2, 3) for word in product(b"ab", repeat=size)]
    vocabulary = Vocabulary((*words, None), frozenset([14]), frozenset([14]))

    def dense_toy(seed, size=5):
        text = bytes(np.random.default_rng(seed).choice(list(b"ab"), size).tolist())
        return random_toy(vocabulary, text, seed)

    return dense_toy


class Replay:
    """The rules, one history at a time: masses are looked up for every comparison."""

    def __init__(self, toy, policy, mass):
        self.toy, self.policy = toy, policy
        self.mass = mass  # (histories, n) -> of the covers that go through them and beyond text[:n]

    def waves(self):
        waves = [set(self.toy.trunk)]
        while waves[-1]:
            wave = {h for h in self.following(waves[-1]) if self.share(h) > self.policy.eps}
            if self.policy.histories == "beam":
                alive = set().union(*waves)
                wave = {h for h in wave if self.heavier(h, alive, wave) < self.policy.beam_width}
            waves.append(wave)
        return waves[:-1]

    def following(self, wave):
        if self.policy.histories == "prefix":
            return {side for side in self.toy.sides if side[:-1] in wave}
        content = [i for i, entry in enumerate(self.toy.vocabulary.token_bytes) if entry]
        more = {(*history, token) for history in wave for token in content} - set(self.toy.trunk)
        return {history for history in more if self.toy.text.startswith(self.toy.spelt(history))}

    def share(self, history):
        at = len(self.toy.spelt(history))
        weight = self.mass([history], at)
        return weight / (weight + self.mass(self.toy.trunk, at))

    def heavier(self, history, alive, wave):
        """How many histories have more mass where this one ends: of those evaluated before, or of
        those that end there too."""
        at = len(self.toy.spelt(history))
        rivals = alive | {other for other in wave if len(self.toy.spelt(other)) == at}
        weight = self.mass([history], at)
        return sum(self.mass([rival], at) > weight for rival in rivals)


@pytest.fixture(scope="session")
def replayed(random_model, symbol_masses):
    def replayed(toy, policy, seed):
        model = random_model(toy.vocabulary, seed)

        def mass(histories, n):
            read = partial(_after, model)
            return symbol_masses(read, toy.vocabulary, toy.text, histories)[n].sum()

        return Replay(toy, policy, mass).waves()

    return replayed


def _after(model, tokens):
    return model((0, 0, *tokens))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("eps", [1e-3, 0.03, 0.3])
def test_prefix_keeps_the_histories_whose_share_exceeds_eps(dense_toy, kept, replayed, eps, seed):
    toy, policy = dense_toy(seed), Histories(histories="prefix", eps=eps)
    assert kept(toy, policy, seed)[0] == replayed(toy, policy, seed)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("eps", [0, 0.03])
@pytest.mark.parametrize("width", [1, 2, 4, 9])
def test_a_beam_keeps_those_of_them_that_are_among_the_heaviest_alive_where_they_end(
    dense_toy, kept, replayed, eps, width, seed
):
    toy, policy = dense_toy(seed), Histories(histories="beam", eps=eps, beam_width=width)
    assert kept(toy, policy, seed)[0] == replayed(toy, policy, seed)


def test_a_beam_does_not_read_what_is_impossible():
    # The trunk spells aa by a twice; beside it, aa itself has no probability.
    vocabulary = Vocabulary((b"a", b"aa", None), frozenset([2]), frozenset([2]))
    trie, asked = Trie(vocabulary), []

    class Reader:
        max_depth = ALL

        def logits(self, histories, wave):
            asked.append(histories.token_R[wave].tolist())
            yield torch.tensor([[0.0, -torch.inf, 0.0]]).repeat(len(wave), 1)

    tree = trunk_tree([0, 0], vocabulary.token_bytes)
    histories = HistoryBatch([Span(b"aa", tree, trunk=3, sequence=0, column=0)])
    log_P, lost = byte_distributions(
        trie, histories, Reader(), Histories(histories="beam", eps=0, beam_width=ALL)
    )
    assert asked == [[-1, 0, 0]] and (lost == 0).all()
    np.testing.assert_allclose(log_P[:, [97, 256]], np.log(0.5), rtol=1e-5)


@pytest.mark.parametrize("name", ["prefix", "beam"])
@given(data=st.data(), seed=SEEDS, eps=st.sampled_from([1e-3, 0.05, 0.3]))
@settings(deadline=None, max_examples=40)
def test_a_smaller_eps_keeps_more_and_never_loses_more(toys, kept, name, data, seed, eps):
    toy = data.draw(toys())
    few, more_lost = kept(toy, Histories(histories=name, eps=eps, beam_width=ALL), seed)
    many, less_lost = kept(
        toy, Histories(histories=name, eps=data.draw(st.floats(0, eps)), beam_width=ALL), seed
    )
    assert set().union(*few) <= set().union(*many)
    assert (less_lost <= more_lost + 1e-12).all()


@pytest.mark.parametrize("seed", range(4))
def test_wider_beams_lose_less(dense_toy, kept, seed):
    toy = dense_toy(seed, size=7)
    waves, lost = zip(
        *(
            kept(toy, Histories(histories="beam", eps=0, beam_width=w), seed)
            for w in (1, 2, 4, 8, 16)
        ),
        strict=True,
    )
    histories = [sum(map(len, some)) for some in waves]
    assert histories[0] > len(toy.trunk) and histories == sorted(set(histories))
    assert (np.diff(lost, axis=0) <= 1e-12).all()
