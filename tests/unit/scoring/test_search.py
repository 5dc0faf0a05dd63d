"""Every policy against brute force over the covers that it means to sum."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.config.settings import Histories
from bld.scoring.history_batch import HistoryBatch, trunk_tree
from bld.scoring.search import byte_distributions
from bld.scoring.trie import Trie
from oracle import all_covers, covers_of_histories, spellings

# The row after a part of a turn belongs to nobody, and may have no mass.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in divide")
ALL = 1 << 30
SEEDS = st.integers(0, 2**32)
DTYPES = pytest.mark.parametrize(
    ("dtype", "close"),
    [(torch.float32, {"rtol": 1e-5, "atol": 1e-6}), (torch.float64, {"rtol": 1e-9, "atol": 1e-11})],
)


def every_spelling(toy):
    """All histories of all covers of a text and of its beginnings."""
    ends = range(len(toy.text) + 1)
    return {h for n in ends for h in spellings(toy.vocabulary, toy.text[:n])}


def total_variation(log_P, log_Q):
    return np.abs(np.exp(log_P) - np.exp(log_Q)).sum(axis=1) / 2


@pytest.fixture(scope="session")
def run(random_model, path_reader):
    """(toy, policy, seed) -> its log-distributions, lost mass, the histories asked for, the
    model."""

    def run(toy, policy, seed, dtype=torch.float64, max_depth=ALL, scale=2):
        trie, model = Trie(toy.vocabulary), random_model(toy.vocabulary, seed, scale=scale)
        reader = path_reader(model, trie, seed, max_depth)
        span = toy.span()
        if policy.histories == "beam":
            tree = trunk_tree(toy.trunk[-1], toy.vocabulary.token_bytes)
            span = span._replace(tree=tree)
        log_P, lost = byte_distributions(trie, HistoryBatch([span]), reader, policy, dtype)
        assert log_P.shape == (len(toy.text) + 1, 258) and lost.shape == (len(toy.text) + 1,)
        asked = {path[2:] for wave in reader.asked for path in wave}
        return log_P[: toy.rows], lost[: toy.rows], asked, lambda tokens: model((0, 0, *tokens))

    return run


@DTYPES
@given(data=st.data(), seed=SEEDS)
@settings(deadline=None, max_examples=40)
def test_a_beam_that_keeps_everything_is_the_sum_over_all_covers(
    toys, run, dtype, close, data, seed
):
    toy = data.draw(toys())
    log_P, lost, asked, model = run(
        toy, Histories(histories="beam", eps=0, beam_width=ALL), seed, dtype
    )
    expected = all_covers(model, toy.vocabulary, toy.text)[: toy.rows]
    np.testing.assert_allclose(np.exp(log_P), np.exp(expected), rtol=0, atol=1e-6)
    np.testing.assert_allclose(log_P, expected, **close)
    assert (lost == 0).all()
    assert asked >= {h for h in every_spelling(toy) if len(h) <= 1}


@DTYPES
@given(data=st.data(), seed=SEEDS)
@settings(deadline=None, max_examples=40)
def test_prefix_without_threshold_is_the_sum_over_its_histories(
    toys, run, dtype, close, data, seed
):
    toy = data.draw(toys())
    log_P, lost, asked, model = run(toy, Histories(histories="prefix", eps=0), seed, dtype)
    expected = covers_of_histories(model, toy.vocabulary, toy.text, toy.histories)[: toy.rows]
    np.testing.assert_allclose(np.exp(log_P), np.exp(expected), rtol=0, atol=1e-6)
    np.testing.assert_allclose(log_P, expected, **close)
    assert (lost == 0).all() and asked == set(toy.histories)


@DTYPES
@given(data=st.data(), seed=SEEDS)
@settings(deadline=None, max_examples=40)
def test_trunk_is_the_sum_over_the_trunk_alone(toys, run, dtype, close, data, seed):
    toy = data.draw(toys())
    log_P, _, asked, model = run(toy, Histories(histories="trunk"), seed, dtype)
    expected = covers_of_histories(model, toy.vocabulary, toy.text, toy.trunk)[: toy.rows]
    np.testing.assert_allclose(log_P, expected, **close)
    assert asked == set(toy.trunk)


@given(data=st.data(), seed=SEEDS, eps=st.sampled_from([0, 1e-3, 0.05, 0.3]))
@settings(deadline=None, max_examples=60)
def test_lost_mass_bounds_what_the_histories_of_prefix_would_add(
    toys, run, symbol_masses, data, seed, eps
):
    toy = data.draw(toys())
    policy = data.draw(
        st.sampled_from([Histories(histories="trunk"), Histories(histories="prefix", eps=eps)])
    )
    max_depth = data.draw(st.sampled_from([ALL, len(toy.trunk)]))
    log_P, lost, asked, model = run(toy, policy, seed, max_depth=max_depth)
    assert set(toy.trunk) <= asked <= set(toy.histories)
    kept, whole = (
        symbol_masses(model, toy.vocabulary, toy.text, histories)[: toy.rows]
        for histories in (asked, toy.histories)
    )
    kept_N, whole_N = kept.sum(axis=1), whole.sum(axis=1)
    np.testing.assert_allclose(np.exp(log_P), kept / kept_N[:, None], rtol=1e-9)
    assert (lost >= 1 - kept_N / whole_N - 1e-12).all()
    full = covers_of_histories(model, toy.vocabulary, toy.text, toy.histories)[: toy.rows]
    assert (lost >= total_variation(log_P, full) - 1e-12).all()


@given(
    data=st.data(),
    seed=SEEDS,
    eps=st.sampled_from([0, 1e-3, 0.05, 0.3]),
    width=st.sampled_from([1, 2, 5, ALL]),
)
@settings(deadline=None, max_examples=60)
def test_lost_mass_bounds_what_all_covers_would_add_to_a_beam(
    toys, run, symbol_masses, data, seed, eps, width
):
    toy = data.draw(toys())
    max_depth = data.draw(st.sampled_from([ALL, len(toy.trunk)]))
    log_P, lost, asked, model = run(
        toy, Histories(histories="beam", eps=eps, beam_width=width), seed, max_depth=max_depth
    )
    assert set(toy.trunk) <= asked <= every_spelling(toy)
    kept, whole = (
        symbol_masses(model, toy.vocabulary, toy.text, histories)[: toy.rows]
        for histories in (asked, every_spelling(toy))
    )
    kept_N, whole_N = kept.sum(axis=1), whole.sum(axis=1)
    np.testing.assert_allclose(np.exp(log_P), kept / kept_N[:, None], rtol=1e-9)
    assert (lost >= 1 - kept_N / whole_N - 1e-12).all()
    full = all_covers(model, toy.vocabulary, toy.text)[: toy.rows]
    assert (lost >= total_variation(log_P, full) - 1e-12).all()


@given(data=st.data(), seed=SEEDS, eps=st.sampled_from([0, 0.01, 0.2]))
@settings(deadline=None, max_examples=40)
def test_several_stretches_in_one_forest_give_what_each_gives_alone(
    toys, vocabularies, random_model, path_reader, data, seed, eps
):
    vocabulary = data.draw(vocabularies())
    some = data.draw(st.lists(toys(vocabulary, longest=4), min_size=2, max_size=4))
    # two turns of one sequence, then sequences of one turn
    places = [(0, 1), (0, 9), (1, 0), (2, 3)]
    spans = [toy.span(*place) for toy, place in zip(some, places, strict=False)]
    name = data.draw(st.sampled_from(["trunk", "prefix", "beam"]))
    trie, model = Trie(vocabulary), random_model(vocabulary, seed)

    def run(spans):
        reader = path_reader(model, trie, seed)
        return byte_distributions(
            trie,
            HistoryBatch(spans),
            reader,
            Histories(histories=name, eps=eps, beam_width=2),
            torch.float64,
        )

    together = run(spans)
    apart = [run([span]) for span in spans]
    for whole, parts in zip(together, zip(*apart, strict=True), strict=True):
        owned = np.concatenate([np.arange(len(toy.text) + 1) < toy.rows for toy in some])
        np.testing.assert_allclose(
            whole[owned], np.concatenate(parts)[owned], rtol=1e-9, atol=1e-12
        )
