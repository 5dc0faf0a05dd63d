"""Bits per byte of averaged models: of byte models what the tokens say, and never above the mean of
them."""

import pytest

from bld.config.settings import Histories
from bld.documents.document import make_document
from bld.evaluation.bits_per_byte import average_bits_per_byte, bits_per_byte
from bld.scoring.averaging import AverageScorer
from bld.scoring.scorer import ByteScorer

MEAN = pytest.mark.parametrize("mean", ["geometric", "arithmetic"])


@pytest.fixture
def scorer(model):
    def build(kind, seed=1):
        lm, renderer, _ = model(kind, seed)
        return ByteScorer(renderer, lm, Histories(histories="prefix", eps=0.0), 256, 10_000)

    return build


@MEAN
def test_where_every_token_is_a_byte_it_is_what_the_tokens_cost(model, scorer, documents, mean):
    _, renderer, reader = model("bytes")
    expected = bits_per_byte(documents, renderer, reader)
    found = average_bits_per_byte(documents, AverageScorer([scorer("bytes")] * 2, [1, 2], mean))
    # What is told is of one rendering, and an average has as many as models.
    assert found.keys() == expected.keys() - {"notes"} and found["task"] == expected["task"]
    for key in ("bits_per_byte", "bytes", "documents", "end_nats"):
        assert found[key] == pytest.approx(expected[key], rel=1e-4), key
    for kind, total in expected["by_kind"].items():
        assert found["by_kind"][kind] == pytest.approx(total, rel=1e-4)
    for ours, theirs in zip(found["per_document"], expected["per_document"], strict=True):
        assert ours.pop("nats") == pytest.approx(theirs.pop("nats"), rel=1e-4)
        assert ours == theirs


@MEAN
def test_two_tokenizers_cost_at_most_their_mean(scorer, documents, mean):
    both = [scorer("subwords"), scorer("Unigram", seed=2)]
    alone = [average_bits_per_byte(documents, one)["bits_per_byte"] for one in both]
    found = average_bits_per_byte(documents, AverageScorer(both, [1, 3], mean))["bits_per_byte"]
    assert found <= 0.25 * alone[0] + 0.75 * alone[1] + 1e-6


def test_documents_without_a_supervised_byte_are_refused(scorer):
    with pytest.raises(ValueError, match="no supervised byte"):
        average_bits_per_byte([make_document("x", "c", [("user", "hello")])], scorer("bytes"))
