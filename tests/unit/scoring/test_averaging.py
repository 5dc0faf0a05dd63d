"""Models averaged in byte space, against brute force and against what the two means are by
definition."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from scipy.special import softmax

from bld.cache.gathering import write_manifest
from bld.cache.live import LiveSignals
from bld.cache.reading import ByteCache, CachedSignals
from bld.cache.shards import Origin
from bld.cache.writing import score_part, score_shard
from bld.config.settings import Architecture, Average, Histories, Rendering
from bld.documents.document import make_document
from bld.documents.shards import read_split, write_splits
from bld.files import read_manifest, sha256_of, sha256_of_all, write_json
from bld.scoring.averaging import AverageScorer, lost_mass, mean_of, open_models
from bld.scoring.scorer import ByteScorer, Scored
from bld.symbols import END, supervised_symbols
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training.scratch import new_model
from oracle import all_covers

MEANS = ("geometric", "arithmetic")
MEAN = pytest.mark.parametrize("mean", MEANS)
PREFIX = Histories(histories="prefix", eps=0)
EVERYTHING = Histories(histories="beam", eps=0, beam_width=1 << 30)


@pytest.fixture(scope="session")
def other():
    """Renderer and model with another tokenizer and another template than the first."""
    tokenizer = train_tokenizer(["Return the index of the last item"] * 9, "bytes", 300, "turns")
    shape = Architecture(hidden=16, layers=1, heads=2, intermediate=24, positions=512)
    lm = new_model(shape, tokenizer, 2).eval()
    for table in lm.parameters():
        table.data.mul_(5 if table.ndim > 1 else 1)
    return Renderer(tokenizer), lm


@pytest.fixture(scope="session")
def both(renderer, lm, other):
    def make(policy=PREFIX):
        models = ((renderer, lm), other)
        return [ByteScorer(*model, policy, 512, 10_000) for model in models]

    return make


def scored(scorer, documents):
    return [one.log_probs_NS for one in scorer.distributions(documents)]


def brute_force(renderer, lm, document):
    """All covers of the last answer of a document, after what stands before it."""
    rendered = renderer.render(document.segments, "")
    turn = rendered.turns[-1]
    context = rendered.ids_T[: turn.first].tolist()
    spelt, special = renderer.vocabulary.token_bytes, renderer.vocabulary.special
    known = np.array([entry is not None or i in special for i, entry in enumerate(spelt)])

    def next_log_probs(tokens):
        with torch.no_grad():
            logits = lm(torch.tensor([[*context, *tokens]])).logits[0, -1, : len(known)].double()
        return logits.masked_fill(~torch.from_numpy(known), -torch.inf).log_softmax(-1).numpy()

    return np.exp(all_covers(next_log_probs, renderer.vocabulary, turn.text))


@MEAN
def test_two_tokenizers_are_averaged_as_by_hand_over_all_covers(renderer, lm, other, both, mean):
    document = make_document("x", "c", [("user", "u"), ("assistant", "the")])
    first, second = brute_force(renderer, lm, document), brute_force(*other, document)
    if mean == "geometric":
        expected = first**0.75 * second**0.25
        expected /= expected.sum(axis=1, keepdims=True)
    else:
        expected = 0.75 * first + 0.25 * second
    (found,) = scored(AverageScorer(both(EVERYTHING), [3, 1], mean), [document])
    assert found.dtype == np.float32 and found.shape == (4, 258)
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-3, atol=1e-7)
    assert expected[:, END].min() > 0


@MEAN
@pytest.mark.parametrize("weights", [[0.3], [7.0], [1, 1], [0.2, 5]], ids=str)
def test_equal_models_are_their_own_average_whatever_the_weights(both, documents, mean, weights):
    one, _ = both()
    average = AverageScorer([one] * len(weights), weights, mean)
    for ours, theirs in zip(scored(average, documents), scored(one, documents), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@MEAN
def test_only_the_ratios_of_weights_count(both, documents, mean):
    small, large = (AverageScorer(both(), weights, mean) for weights in ([1, 3], [20, 60]))
    for ours, theirs in zip(scored(small, documents), scored(large, documents), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@MEAN
def test_every_supervised_symbol_has_one_normalised_row(both, documents, mean):
    average = list(AverageScorer(both(), [1, 2], mean).distributions(documents))
    assert [one.document for one in average] == documents
    for one, of_first in zip(average, both()[0].distributions(documents), strict=True):
        assert one.log_probs_NS.shape == of_first.log_probs_NS.shape
        assert one.lost_N.dtype == np.float32 and (one.lost_N == 0).all() and one.tokens is None
        np.testing.assert_allclose(np.exp(one.log_probs_NS).sum(axis=1), 1, rtol=1e-5)


def kl(p, q):
    return float((p * np.log(p / q)).sum())


@given(arrays(float, (3, 4), elements=st.floats(-3, 3)), st.tuples(*[st.floats(0.1, 9)] * 3))
def test_each_mean_has_the_least_divergence_in_its_direction(logits, weights):
    p_MS, share_M = softmax(logits, axis=1), np.array(weights) / sum(weights)
    sums = {
        "geometric": lambda q: sum(w * kl(q, p) for w, p in zip(share_M, p_MS, strict=True)),
        "arithmetic": lambda q: sum(w * kl(p, q) for w, p in zip(share_M, p_MS, strict=True)),
    }
    for mean, divergence in sums.items():
        log_probs_NS, log_total_N = mean_of(np.log(p_MS)[:, None], share_M, mean)
        found = np.exp(log_probs_NS[0].astype(float))
        least = minimize(lambda x, of=divergence: of(softmax(x)), np.zeros(4))
        assert divergence(found / found.sum()) <= least.fun + 1e-6
        if mean == "geometric":
            assert divergence(found / found.sum()) == pytest.approx(-log_total_N[0], abs=1e-6)


DISTRIBUTIONS = arrays(float, (3, 5), elements=st.floats(-9, 9)).map(lambda x: softmax(x, axis=1))
LOST = st.tuples(*[st.one_of(st.just(0.0), st.floats(1e-6, 1))] * 3)


@given(DISTRIBUTIONS, DISTRIBUTIONS, LOST, st.tuples(*[st.floats(0.1, 9)] * 3))
def test_no_dropped_history_could_move_the_mean_farther_than_it_says(p_MS, r_MS, lost, weights):
    share_M, lost_M = np.array(weights) / sum(weights), np.array(lost)
    whole_MS = (1 - lost_M[:, None]) * p_MS + lost_M[:, None] * r_MS
    for mean in MEANS:
        with np.errstate(divide="ignore"):
            found, log_total_N = mean_of(np.log(p_MS)[:, None], share_M, mean)
            truth, _ = mean_of(np.log(whole_MS)[:, None], share_M, mean)
        (bound,) = lost_mass(lost_M[:, None], share_M, mean, log_total_N)
        assert abs(np.exp(found) - np.exp(truth)).sum() / 2 <= bound + 1e-6
        assert 0 <= bound <= 1 + 1e-9


@MEAN
def test_of_one_model_the_average_says_lost_what_the_model_says(mean):
    lost_MN = np.array([[0.0, 0.01, 0.3, 1.0]])
    found = lost_mass(lost_MN, np.ones(1), mean, np.zeros(4))
    np.testing.assert_allclose(found, lost_MN[0], atol=1e-12)


def test_what_no_model_lost_the_average_has_not_lost_however_they_disagree():
    log_total_N = np.log([1.0, 0.4, 1e-6])
    for mean in MEANS:
        assert (lost_mass(np.zeros((2, 3)), np.full(2, 0.5), mean, log_total_N) == 0).all()


class Fixed:
    """A scorer that gives every symbol of a document the same distribution."""

    notes = ("a note",)

    def __init__(self, symbol):
        self._symbol = symbol

    def distributions(self, documents):
        for document in documents:
            log_probs_NS = np.full((2, 258), -np.inf, np.float32)
            log_probs_NS[:, self._symbol] = 0
            yield Scored(document, log_probs_NS, np.zeros(2, np.float32), 1)


def test_models_that_have_nothing_in_common_have_an_arithmetic_mean_alone():
    documents = [make_document("odd", "text", [("text", "")])]
    with pytest.raises(
        ValueError, match=r"document odd: at its supervised symbol 0 nothing .*arith"
    ):
        scored(AverageScorer([Fixed(1), Fixed(2)], [1, 1], "geometric"), documents)
    average = AverageScorer([Fixed(1), Fixed(2)], [1, 3], "arithmetic")
    (found,) = scored(average, documents)
    np.testing.assert_allclose(np.exp(found[:, 1:3]), [[0.25, 0.75]] * 2)
    assert average.notes == ["a note"]


@MEAN
def test_a_live_average_says_what_its_cache_says(both, documents, tmp_path, mean):
    average = AverageScorer(both(Histories(histories="prefix", eps=1e-3)), [2, 1], mean)
    split = SimpleNamespace(fraction=1.0, shards=1, documents=None)
    write_splits(documents, {"train": tmp_path / "corpus"}, {"train": split}, seed=0)
    corpus = list(read_split(tmp_path / "corpus"))
    models = [tmp_path / "one.json", tmp_path / "other.json"]
    for path in models:
        write_json(path, {"source": {"hub": path.stem}})
    shard, settings = "00000-of-00001.parquet", {"average": {"mean": mean}}
    documents_sha256 = sha256_of(tmp_path / "corpus" / shard)
    origin = Origin(documents_sha256, sha256_of_all(models), "step", settings)
    (tmp_path / "cache").mkdir()
    score_shard(
        *(tmp_path / "cache" / shard, tmp_path / "corpus" / shard, origin, tmp_path / "parts"),
        lambda some: score_part(average.distributions(some), 0.99, 8),
    )
    write_manifest(tmp_path / "cache", tmp_path / "corpus", models, settings)
    manifest = read_manifest(tmp_path / "cache/manifest.json")
    assert manifest["teacher_sources"] == [{"hub": "one"}, {"hub": "other"}]
    with pytest.raises(ValueError, match="scored by another teacher"):
        write_manifest(tmp_path / "cache", tmp_path / "corpus", models[::-1], settings)
    counts = [len(supervised_symbols(document.segments)) for document in corpus]
    cache = ByteCache(tmp_path / "cache", tmp_path / "corpus")
    cached = CachedSignals(cache, [d.id for d in corpus], counts).read(range(len(corpus)))
    live = LiveSignals(corpus, average, 0.99, 8).read(range(len(corpus)))
    for ours, theirs in zip(live, cached, strict=True):
        width = theirs[0].shape[1]
        assert ours.tokens is theirs.tokens is None
        np.testing.assert_array_equal(ours[0][:, :width], theirs[0])
        np.testing.assert_array_equal(ours[1][:, :width], theirs[1])
        np.testing.assert_array_equal(ours[2], theirs[2])


def test_the_folders_of_a_teacher_are_opened_as_their_names_say(tmp_path):
    def open_one(folder, rendering):
        return Fixed(int(rendering.end_tokens[0]))

    folders = [tmp_path / "b", tmp_path / "a"]
    renderings = {"a": Rendering(end_tokens=["1"]), "b": Rendering(end_tokens=["2"])}
    average = Average(models={"a": 1, "b": 3}, mean="arithmetic")
    documents = [make_document("x", "text", [("text", "")])]
    (found,) = scored(open_models(folders, renderings, average, open_one), documents)
    np.testing.assert_allclose(np.exp(found[0, 1:3]), [0.25, 0.75])
    alone = open_models(folders[:1], Rendering(end_tokens=["7"]), None, open_one)
    assert isinstance(alone, Fixed) and alone._symbol == 7
