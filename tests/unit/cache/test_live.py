"""The live teacher against a cache that was written to disk and read back."""

from types import SimpleNamespace

import numpy as np
import pytest

from bld.cache.gathering import write_manifest
from bld.cache.live import LiveSignals
from bld.cache.reading import ByteCache, CachedSignals
from bld.cache.shards import Origin
from bld.cache.writing import score_part, score_shard
from bld.config.settings import Histories
from bld.documents.shards import read_split, write_splits
from bld.evaluation.reader import Reader
from bld.files import MANIFEST, sha256_of, write_json
from bld.scoring.scorer import ByteScorer
from bld.symbols import supervised_symbols

MASS, AT_MOST = 0.99, 8
NAME = "00000-of-00001.parquet"
SETTINGS = {"scoring": {"top_p": MASS, "histories": "prefix"}, "reading": {}}


@pytest.fixture(params=[0, 5, 1000])
def scorer(renderer, lm, request):
    """One that keeps no tokens, some, or all."""
    return ByteScorer(
        renderer, lm, Histories(histories="prefix", eps=1e-3), 256, 10_000, request.param
    )


@pytest.fixture
def corpus(tmp_path, documents):
    """The documents of a split as they come back from disk, in their order there."""
    split = SimpleNamespace(fraction=1.0, shards=1, documents=None)
    write_splits(documents, {"train": tmp_path / "corpus"}, {"train": split}, seed=0)
    return list(read_split(tmp_path / "corpus"))


@pytest.fixture
def cached(tmp_path, corpus, scorer):
    folder, teacher = tmp_path / "cache", tmp_path / "teacher.json"
    write_json(teacher, {"source": {"hub": "a/teacher", "revision": "0" * 40}})
    origin = Origin(
        documents_sha256=sha256_of(tmp_path / "corpus" / NAME),
        teacher_sha256=sha256_of(teacher),
        step="step",
        settings=SETTINGS,
    )

    def score(some):
        return score_part(scorer.distributions(some), MASS, AT_MOST)

    folder.mkdir()
    score_shard(folder / NAME, tmp_path / "corpus" / NAME, origin, tmp_path / "parts", score)
    write_manifest(folder, tmp_path / "corpus", [teacher], SETTINGS)
    assert (folder / MANIFEST).exists()
    symbols = [len(one.lost_N) for one in scorer.distributions(corpus)]
    return CachedSignals(ByteCache(folder, tmp_path / "corpus"), [d.id for d in corpus], symbols)


def test_a_live_teacher_says_what_the_cache_of_its_scores_says(corpus, cached, scorer):
    live = LiveSignals(corpus, scorer, MASS, AT_MOST)
    everything = range(len(corpus))
    for found, expected in zip(live.read(everything), cached.read(everything), strict=True):
        width = expected[0].shape[1]
        assert (found.tokens is None) == (expected.tokens is None)
        for ours, theirs in zip(found.tokens or (), expected.tokens or (), strict=True):
            np.testing.assert_array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        for column, (ours, theirs) in enumerate(zip(found[:3], expected[:3], strict=True)):
            if column < 2:  # the cache has no more places than were ever used
                assert (found[1][:, width:] == -np.inf).all()
                ours = ours[:, :width]
            np.testing.assert_array_equal(ours, theirs)


def test_a_student_that_is_trained_on_other_text_is_refused(corpus, scorer):
    counts = [1 + len(supervised_symbols(document.segments)) for document in corpus]
    live = LiveSignals(corpus, scorer, MASS, AT_MOST, counts)
    with pytest.raises(ValueError, match=r"has \d+ supervised symbols but \d+ in the teacher"):
        live.read([0])


def test_what_it_says_does_not_depend_on_what_is_asked_for_together(corpus, scorer):
    live = LiveSignals(corpus, scorer, MASS, AT_MOST)
    together = live.read(range(len(corpus)))
    for number, expected in reversed(list(enumerate(together))):
        (alone,) = live.read([number])
        # Rounding to five bits of mantissa can fall to either side.
        for ours, theirs in zip(alone[1:3], expected[1:3], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2**-5, atol=2**-6)


def test_all_tokens_are_those_of_the_model_up_to_float16(renderer, lm, corpus):
    scorer = ByteScorer(renderer, lm, Histories(histories="trunk"), 256, 10_000, 1000)
    found = LiveSignals(corpus, scorer, MASS, AT_MOST).read(range(len(corpus)))
    rendered = [renderer.render(document.segments, document.id) for document in corpus]
    said = dict(Reader(lm, renderer.vocabulary, 256, 10_000).log_probs([r.ids_T for r in rendered]))
    for number, (_, _, _, tokens) in enumerate(found):
        before = np.flatnonzero(rendered[number].symbol_T >= 0) - 1
        expected = np.take_along_axis(
            said[number].numpy()[before], tokens.ids_UK.astype(np.int64), axis=1
        )
        np.testing.assert_allclose(tokens.log_probs_UK, expected, rtol=2**-11, atol=2e-3)
        assert np.isneginf(tokens.log_tail_U).all()
