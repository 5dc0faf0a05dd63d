"""What the scorer says at the teacher's own tokens, against the model reading each document as it
is."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from bld.config.settings import Architecture, Histories
from bld.documents.document import make_document
from bld.evaluation.reader import Reader
from bld.scoring.scorer import ByteScorer
from bld.symbols import END
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training.scratch import new_model

SAMPLE = ["Return the index of the first key"] * 9
KINDS = ["byte_level_bpe", "sentencepiece_bpe", "unigram", "bytes"]
ALL = 1 << 30
PREFIX, TRUNK, BEAM = (
    Histories(histories="prefix", eps=1e-3),
    Histories(histories="trunk"),
    Histories(histories="beam", eps=0.01, beam_width=4),
)
# After the first of two answers stands nothing at all, after the second nothing that ends a turn.
ENDLESS = (
    "{{ bos_token }}{% for message in messages %}{{ message['content'] }}{% endfor %}{{ '!' }}"
)


def scored(
    documents, renderer, lm, keep=ALL, policy=PREFIX, window=256, batch_tokens=10_000, **how
):
    scorer = ByteScorer(renderer, lm, policy, window, batch_tokens, keep, **how)
    return list(scorer.distributions(documents))


def expected_of(documents, renderer, lm, window=256):
    """(rendered, its supervised positions, float64 log-probabilities of the tokens there [U,
    V])."""
    rendered = [renderer.render(d.segments, d.id) for d in documents]
    reader = Reader(lm, renderer.vocabulary, window, 10_000)
    said = dict(reader.log_probs([one.ids_T for one in rendered]))
    for number, one in enumerate(rendered):
        position = np.flatnonzero(one.symbol_T >= 0)
        yield one, position, said[number].double().numpy()[position - 1]


def agree(rows, rendered, position, log_probs_UV):
    """The rows are the most probable tokens of these distributions, and the rest is their tail."""
    np.testing.assert_array_equal(rows.token_U, rendered.ids_T[position])
    np.testing.assert_array_equal(rows.symbol_U, rendered.symbol_T[position])
    np.testing.assert_array_equal(rows.count_U, rendered.count_T[position])
    number = np.arange(len(position))
    np.testing.assert_allclose(rows.log_prob_U, log_probs_UV[number, rows.token_U], atol=1e-4)
    width = rows.ids_UK.shape[1]
    falling_UV = -np.sort(-log_probs_UV, axis=1)
    np.testing.assert_allclose(rows.log_probs_UK, falling_UV[:, :width], atol=1e-4)
    found_UK = np.take_along_axis(log_probs_UV, rows.ids_UK.astype(np.int64), axis=1)
    np.testing.assert_allclose(rows.log_probs_UK, found_UK, atol=1e-4)
    assert all(len(set(ids)) == width for ids in rows.ids_UK.tolist())
    tail_U = np.exp(falling_UV[:, width:]).sum(axis=1)
    np.testing.assert_allclose(np.exp(rows.log_tail_U), tail_U, atol=1e-5)
    assert [column.dtype for column in rows] == [np.int32] * 3 + [
        *(np.float32, np.int32, np.float32, np.float32)
    ]


@pytest.fixture(scope="session", params=KINDS)
def teacher(request):
    """A renderer and a model for it."""
    tokenizer = train_tokenizer(SAMPLE, request.param, 300, "turns")
    shape = Architecture(hidden=16, layers=2, heads=2, intermediate=24, positions=256)
    lm = new_model(shape, tokenizer, 3).eval()
    with torch.no_grad():
        for table in lm.parameters():
            if table.ndim > 1:
                table.mul_(5)
    return Renderer(tokenizer), lm


@pytest.mark.parametrize("keep", [1, 7, ALL])
@pytest.mark.parametrize("window", [256, 24, 9])
def test_the_rows_are_what_the_model_says_at_each_token_of_a_document(
    documents, teacher, window, keep
):
    renderer, lm = teacher
    spelt, special = renderer.vocabulary.token_bytes, renderer.vocabulary.special
    known = sum(entry is not None or i in special for i, entry in enumerate(spelt))
    expected = expected_of(documents, renderer, lm, window)
    for one, (rendered, position, log_probs) in zip(
        scored(documents, renderer, lm, keep, window=window), expected, strict=True
    ):
        assert one.tokens.ids_UK.shape == (len(position), min(keep, known))
        agree(one.tokens, rendered, position, log_probs)


@pytest.mark.parametrize("policy", [PREFIX, TRUNK, BEAM], ids=str)
@pytest.mark.parametrize("batch_tokens", [1, 60, 10_000])
def test_neither_the_histories_nor_the_batch_change_the_rows(
    documents, renderer, lm, policy, batch_tokens
):
    found = scored(documents, renderer, lm, 5, policy, 24, batch_tokens)
    for one, expected in zip(found, expected_of(documents, renderer, lm, 24), strict=True):
        agree(one.tokens, *expected)


def test_rows_are_whole_where_the_logits_come_in_many_blocks(documents, renderer, lm):
    found = scored(documents, renderer, lm, 5, block_rows=5)
    for one, expected in zip(found, expected_of(documents, renderer, lm), strict=True):
        agree(one.tokens, *expected)


@pytest.mark.parametrize("keep", [1, ALL])
@pytest.mark.parametrize("policy", [PREFIX, TRUNK, BEAM], ids=str)
def test_the_bytes_are_the_same_to_the_last_bit_with_and_without_tokens(
    documents, renderer, lm, policy, keep
):
    for one, other in zip(
        scored(documents, renderer, lm, keep, policy),
        scored(documents, renderer, lm, 0, policy),
        strict=True,
    ):
        np.testing.assert_array_equal(one.log_probs_NS, other.log_probs_NS)
        np.testing.assert_array_equal(one.lost_N, other.lost_N)
        assert one.tokens is not None and other.tokens is None


@pytest.mark.parametrize("window", [256, 9])
def test_a_turn_without_an_end_has_no_row_for_one_and_the_next_turn_has_its_own(lm, window):
    tokenizer = train_tokenizer(SAMPLE, "byte_level_bpe", 290, "chatml")
    tokenizer.chat_template = ENDLESS
    renderer = Renderer(tokenizer)
    turns = [("user", "Which?"), ("assistant", "the first"), ("assistant", "key of it")]
    document = make_document("x", "conversation", turns)
    ((rendered, position, log_probs),) = expected_of([document], renderer, lm, window)
    assert [turn.ends for turn in rendered.turns] == [False, False]
    assert rendered.turns[0].last == rendered.turns[1].first
    (one,) = scored([document], renderer, lm, 6, window=window)
    agree(one.tokens, rendered, position, log_probs)
    assert END not in rendered.symbols_N[one.tokens.symbol_U]


def test_turns_without_text_have_the_row_of_their_end_alone(renderer, lm):
    turns = [("user", "u"), ("assistant", ""), ("user", "u"), ("assistant", "key")]
    documents = [
        make_document("empty", "conversation", turns),
        make_document("nothing", "text", [("text", "")]),
        make_document("silent", "conversation", [("user", "u")]),
    ]
    found = scored(documents, renderer, lm, 3)
    for one, expected in zip(found, expected_of(documents, renderer, lm), strict=True):
        agree(one.tokens, *expected)
    assert found[0].tokens.count_U[0] == 1 and found[0].tokens.symbol_U[0] == 0
    assert [len(one.tokens.token_U) for one in found[1:]] == [1, 0]


def test_the_rows_of_a_document_whose_bytes_need_float64_are_there_once(renderer, lm):
    sharp = deepcopy(lm)
    with torch.no_grad():
        sharp.get_output_embeddings().weight.mul_(200)
    document = make_document("x", "text", [("text", "Return the key of the index")])
    scorer = ByteScorer(renderer, sharp, TRUNK, 256, 1000, 4)
    (found,) = scorer.distributions([document])
    ((rendered, position, log_probs),) = expected_of([document], renderer, sharp)
    assert scorer.evaluated.trunk == 2 * len(rendered)  # read again for the sake of the bytes
    number = np.arange(len(position))
    np.testing.assert_allclose(
        found.tokens.log_prob_U, log_probs[number, found.tokens.token_U], rtol=1e-4, atol=1e-2
    )
    np.testing.assert_array_equal(found.tokens.token_U, rendered.ids_T[position])


def test_entries_that_the_tokenizer_lacks_get_no_probability(documents, renderer, lm):
    size = len(renderer.vocabulary)
    wide = type(lm)(lm.config)
    wide.load_state_dict(lm.state_dict())
    wide.resize_token_embeddings(size + 7, mean_resizing=False)
    with torch.no_grad():
        wide.get_output_embeddings().weight[size:] = 9.0
    (one,) = scored(documents[:1], renderer, wide.eval())
    assert one.tokens.ids_UK.max() < size
    np.testing.assert_allclose(np.exp(one.tokens.log_probs_UK).sum(axis=1), 1, rtol=1e-5)
    (plain,) = scored(documents[:1], renderer, lm)
    np.testing.assert_allclose(one.tokens.log_probs_UK, plain.tokens.log_probs_UK, atol=1e-4)
