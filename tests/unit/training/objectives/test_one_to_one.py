import math

import numpy as np
import pytest
import torch

from bld.cache.top_k import Signal
from bld.config.methods.bld import BldSettings
from bld.config.methods.one_to_one import OneToOneSettings as Settings
from bld.models import hidden_states
from bld.scoring.token_scores import TokenScores
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training.alignment import Outcomes
from bld.training.batches import Batches
from bld.training.objective import ObjectiveContext
from bld.training.objectives.bld import build
from bld.training.objectives.one_to_one import OneToOne, shared_divergence
from bld.training.pieces import pieces_of

TEXTS = ["Return the index of a value, or raise ValueError.", "keys and items of it"] * 9


@pytest.fixture(scope="session")
def other_renderer():
    return Renderer(train_tokenizer(TEXTS, "unigram", 300, "turns"))


class Rows:
    """A teacher whose distributions after its tokens are given, all tokens kept."""

    def __init__(self, rendered, log_probs):
        self.rendered, self.log_probs = rendered, log_probs

    def read(self, documents):
        return [self._of(self.rendered[d], self.log_probs[d]) for d in documents]

    def _of(self, document, log_probs_TW):
        token = np.flatnonzero(document.symbol_T >= 0)
        rows = log_probs_TW[token - 1].astype(np.float32)
        order = np.argsort(-rows, axis=1)
        size = len(document.symbols_N)
        tokens = TokenScores(
            document.symbol_T[token],
            document.count_T[token],
            document.ids_T[token],
            rows[np.arange(len(token)), document.ids_T[token]],
            order.astype(np.int32),
            np.take_along_axis(rows, order, 1),
            np.full(len(token), -np.inf, np.float32),
        )
        byte_signal = np.zeros((size, 1), np.int64), np.full((size, 1), -1, np.float32)
        return Signal(*byte_signal, np.full(size, np.log1p(-np.exp(-1)), np.float32), tokens)


def random_rows(rendered, size, seed=0):
    random = np.random.default_rng(seed)
    logits = [3 * random.standard_normal((len(one), size)) for one in rendered]
    return [one - np.logaddexp.reduce(one, 1, keepdims=True) for one in logits]


def of_model(lm, rendered):
    """What a model says at every position of the documents, float64."""
    with torch.no_grad():
        return [
            lm(torch.from_numpy(one.ids_T.astype(np.int64))[None])
            .logits[0]
            .double()
            .log_softmax(-1)
            .numpy()
            for one in rendered
        ]


def step_of(lm, rendered, teacher, gradient=False):
    """Hidden states and batch of all documents, one a row."""
    rows = [[piece] for piece in pieces_of(rendered, 128, 0.5)]
    batch = Batches(rendered, teacher).collate(rows, 7.0, 7.0)
    with torch.set_grad_enabled(gradient):
        hidden = hidden_states(lm, batch.ids_BT, batch.masks(lm), batch.positions_BT)
    return hidden.flatten(0, 1), batch


def divergence_by_hand(lm, student, teacher, rendered, others, log_probs):
    """Token by token over dictionaries of what is spelt, in float64."""

    def by_text(vocabulary, probs):
        found = {}
        for i, p in enumerate(probs):
            if i in vocabulary.end:
                found["end"] = found.get("end", 0.0) + p
            elif i < len(vocabulary) and vocabulary.token_bytes[i]:
                text = vocabulary.token_bytes[i]
                found[text] = found.get(text, 0.0) + p
        return found

    total = 0.0
    for own, other, rows, said in zip(
        rendered, others, of_model(lm, rendered), log_probs, strict=True
    ):
        where = {
            (other.symbol_T[u], other.count_T[u]): u for u in np.flatnonzero(other.symbol_T >= 0)
        }
        for s in np.flatnonzero(own.symbol_T >= 0):
            u = where.get((own.symbol_T[s], own.count_T[s]))
            if u is None:
                continue
            q = by_text(student, np.exp(rows[s - 1]))
            p = by_text(teacher, np.exp(said[u - 1]))
            shared = p.keys() & q.keys()
            total += sum(p[x] * math.log(p[x] / q[x]) for x in shared)
            rest_p, rest_q = (1 - sum(side[x] for x in shared) for side in (p, q))
            total += rest_p * math.log(rest_p / rest_q) if rest_p > 0 else 0
    return total


def test_the_divergence_is_that_of_shared_tokens_and_one_outcome_for_all_else(
    renderer, other_renderer, rendered, documents, tiny_model
):
    lm = tiny_model()
    others = [other_renderer.render(d.segments, d.id) for d in documents]
    size = len(other_renderer.vocabulary)
    log_probs = random_rows(others, size)
    hidden, batch = step_of(lm, rendered, Rows(others, log_probs))
    outcomes = Outcomes(renderer.vocabulary, 300, other_renderer.vocabulary)
    assert 256 <= outcomes.count < 300
    found = shared_divergence(outcomes, lm, hidden, batch).divergence_M.sum()
    expected = divergence_by_hand(
        lm, renderer.vocabulary, other_renderer.vocabulary, rendered, others, log_probs
    )
    assert expected > 1
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.fixture
def same(renderer, rendered, tiny_model):
    """A student that is its own teacher, all of its tokens kept."""
    lm = tiny_model()
    outcomes = Outcomes(renderer.vocabulary, 300, renderer.vocabulary)
    return lm, outcomes, Rows(rendered, of_model(lm, rendered))


def test_a_student_that_is_its_teacher_has_nothing_to_learn(same, rendered):
    lm, outcomes, teacher = same
    hidden, batch = step_of(lm, rendered, teacher, gradient=True)
    objective = OneToOne(Settings(token_weight=0), outcomes)
    loss = objective.losses(lm, None, hidden, batch)["loss"]
    loss.backward()
    assert abs(loss.item()) < 1e-6
    largest = max(float(p.grad.abs().max()) for p in lm.parameters() if p.grad is not None)
    assert largest < 1e-5


def test_with_equal_tokenizers_it_is_the_plain_divergence(same, rendered):
    lm, outcomes, _ = same
    log_probs = random_rows(rendered, 300, seed=1)
    hidden, batch = step_of(lm, rendered, Rows(rendered, log_probs))
    found = shared_divergence(outcomes, lm, hidden, batch)
    assert len(found.token_M) == len(batch.source_S)
    plain, vocabulary_size = 0.0, outcomes.student_V != outcomes.count
    for one, own, said in zip(rendered, of_model(lm, rendered), log_probs, strict=True):
        before = np.flatnonzero(one.symbol_T >= 0) - 1
        p, q = (np.exp(side[before]) for side in (said, own))
        known = vocabulary_size.numpy()
        rest = [1 - side[:, known].sum(1) for side in (p, q)]
        plain += (p * np.log(p / q))[:, known].sum() + (rest[0] * np.log(rest[0] / rest[1])).sum()
    assert float(found.divergence_M.sum()) == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_a_temperature_softens_both_sides_and_counts_its_square(same, rendered, temperature):
    lm, outcomes, _ = same
    hidden, batch = step_of(lm, rendered, Rows(rendered, random_rows(rendered, 300, seed=2)))
    found = shared_divergence(outcomes, lm, hidden, batch, temperature).divergence_M
    tokens = batch.teacher_tokens
    with torch.no_grad():
        own = lm.lm_head(hidden[batch.source_S]).double().softmax(-1)

    def grouped(probs, of):
        total = torch.zeros(len(probs), outcomes.count + 1, dtype=torch.float64)
        return total.index_add(1, of, probs)

    said = torch.zeros(len(own), 300, dtype=torch.float64)
    said.scatter_(1, tokens.ids_UK, tokens.log_probs_UK.double().exp())
    p, q = grouped(said, outcomes.teacher_W), grouped(own, outcomes.student_V)
    p, q = (
        side ** (1 / temperature) / (side ** (1 / temperature)).sum(1, keepdim=True)
        for side in (p, q)
    )
    expected = temperature**2 * (p * (p / q).log()).sum(1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_numbering_a_vocabulary_otherwise_changes_nothing(same, rendered):
    lm, outcomes, _ = same
    teacher = Rows(rendered, random_rows(rendered, 300, seed=3))
    hidden, batch = step_of(lm, rendered, teacher)
    before = shared_divergence(outcomes, lm, hidden, batch).divergence_M
    order = torch.from_numpy(np.random.default_rng(0).permutation(300))
    tokens = batch.teacher_tokens
    batch.teacher_tokens = tokens._replace(ids_UK=order[tokens.ids_UK])
    renumbered = torch.empty_like(outcomes.teacher_W)
    renumbered[order] = outcomes.teacher_W
    outcomes.teacher_W = renumbered
    after = shared_divergence(outcomes, lm, hidden, batch).divergence_M
    torch.testing.assert_close(after, before, rtol=0, atol=0)


def test_documents_without_anything_to_learn_give_zero(same, rendered):
    lm, outcomes, teacher = same
    hidden, batch = step_of(lm, rendered, teacher, gradient=True)
    for name in ("source_S", "target_S", "symbol_S", "count_S"):
        setattr(batch, name, getattr(batch, name)[:0])
    losses = OneToOne(Settings(), outcomes).losses(lm, None, hidden, batch)
    losses["loss"].backward()
    assert float(losses["loss"]) == 0.0


def test_joined_with_bytes_the_bytes_of_shared_tokens_may_be_left_to_the_tokens(
    renderer, other_renderer, rendered, documents, tiny_model
):
    lm = tiny_model()
    others = [other_renderer.render(d.segments, d.id) for d in documents]
    teacher = Rows(others, random_rows(others, len(other_renderer.vocabulary)))
    context = ObjectiveContext(lm, renderer, other_renderer.vocabulary)

    def losses(**settings):
        full = BldSettings(head="marginal", byte_weight=0, kl_weight=1, **settings).model_dump()
        objective, head, histories = build(full, context)
        rows = [[piece] for piece in pieces_of(rendered, 128, 0.5)]
        batch = Batches(rendered, teacher, histories).collate(rows, 7.0, 7.0)
        hidden = hidden_states(lm, batch.ids_BT, batch.masks(lm), batch.positions_BT)
        return {
            k: float(v) for k, v in objective.losses(lm, head, hidden.flatten(0, 1), batch).items()
        }

    plain, both = losses(), losses(shared_weight=2.0)
    apart = losses(shared_weight=2.0, shared_bytes=False)
    assert "teacher_loss" not in plain
    assert both["kl_loss"] == plain["kl_loss"] > apart["kl_loss"] > 0
    assert both["teacher_loss"] == apart["teacher_loss"] > 0
    for found in (both, apart):
        expected = found["token_loss"] + found["kl_loss"] + 2 * found["teacher_loss"]
        assert found["loss"] == pytest.approx(expected)
