import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.cache.top_k import Signal
from bld.models import hidden_states
from bld.symbols import SYMBOLS
from bld.training.batches import Batches
from bld.training.heads import LinearHeads
from bld.training.objectives.bld import Bld, divergence_from_top_k
from bld.training.objectives.sft import Sft
from bld.training.pieces import pieces_of


class DenseTeacher:
    """Keeps all 258 symbols, so there is no tail."""

    def __init__(self, teacher):
        self._teacher = teacher

    def read(self, documents):
        return [self._of(self._teacher.dense(document)) for document in documents]

    def _of(self, dense):
        symbols = np.tile(np.arange(258), (len(dense), 1))
        log_tail = np.full(len(dense), -np.inf, np.float32)
        return Signal(symbols, np.log(dense).astype(np.float32), log_tail)


@pytest.fixture
def step(rendered, tiny_model):
    """(signals, tokens, bytes) -> model, heads, hidden states of the batch, batch."""

    def build(signals=None, tokens=1.0, symbols=1.0):
        lm = tiny_model()
        rows = [[piece] for piece in pieces_of(rendered, 128, 0.5)]
        batch = Batches(rendered, signals).collate(rows, tokens, symbols)
        with torch.no_grad():
            hidden = hidden_states(lm, batch.ids_BT, batch.masks(lm), batch.positions_BT)
        return lm, LinearHeads(16, 0), hidden.flatten(0, 1), batch

    return build


def equation_5(lm, heads, rendered, teacher_of, byte_weight, kl_weight, reduction):
    """Eq. 5 as it stands on paper: one token and one byte at a time, in float64.

    `teacher_of(document, symbol)` lists (symbols, their joint teacher probability): the outcomes
    over which the divergence is taken.
    """
    weight, bias = heads.weight.double(), heads.bias.double()
    token_sum = byte_sum = kl_sum = 0.0
    tokens = symbols = 0
    for number, document in enumerate(rendered):
        ids = torch.from_numpy(document.ids_T.astype(np.int64))
        with torch.no_grad():
            out = lm(ids[None], output_hidden_states=True)
        log_probs, hidden = out.logits[0].double().log_softmax(-1), out.hidden_states[-1][0]
        for t in np.flatnonzero(document.symbol_T >= 0):
            token_sum -= float(log_probs[t - 1, ids[t]])
            tokens += 1
            symbols += int(document.count_T[t])
            for j in range(min(document.count_T[t], 10)):
                rows = slice(260 * j, 260 * (j + 1))
                f = (weight[rows] @ hidden[t - 1].double() + bias[rows]).softmax(-1).tolist()
                n = int(document.symbol_T[t]) + j
                byte_sum -= math.log(f[document.symbols_N[n]])
                for outcome, p in teacher_of(number, n):
                    kl_sum += p * (math.log(p) - math.log(sum(f[s] for s in outcome)))
    count = tokens if reduction == "token" else symbols
    parts = token_sum / tokens, byte_sum / count, kl_sum / count
    return {
        "loss": parts[0] + byte_weight * parts[1] + kl_weight * parts[2],
        **dict(zip(("token_loss", "byte_loss", "kl_loss"), parts, strict=True)),
    }, (tokens, symbols)


def all_outcomes(teacher):
    def outcomes(document, n):
        return [([s], p) for s, p in enumerate(teacher.dense(document)[n])]

    return outcomes


def top_3_and_tail(teacher):
    def outcomes(document, n):
        dense = teacher.dense(document)[n]
        top = list(np.argsort(-dense)[:3])
        rest = [s for s in range(SYMBOLS) if s not in top]
        return [([s], dense[s]) for s in top] + [(rest, 1 - sum(dense[top]))]

    return outcomes


@pytest.mark.parametrize("reduction", ["token", "byte"])
@pytest.mark.parametrize("kept", ["all", "top 3"])
def test_bld_is_equation_5_one_byte_at_a_time(step, rendered, teacher, reduction, kept):
    signals, outcomes = {
        "all": (DenseTeacher(teacher), all_outcomes(teacher)),
        "top 3": (teacher, top_3_and_tail(teacher)),
    }[kept]
    lm, heads, _, _ = step()
    expected, counts = equation_5(lm, heads, rendered, outcomes, 0.7, 0.3, reduction)
    lm, heads, hidden, batch = step(signals, *counts)
    assert batch.count_S.max() > 10  # a token that is longer than the heads are many
    found = Bld(1.0, 0.7, 0.3, reduction).losses(lm, heads, hidden, batch)
    assert {n: part.item() for n, part in found.items()} == pytest.approx(expected, rel=1e-5)


def test_sft_is_the_cross_entropy_of_the_whole_models_logits(step, rendered):
    lm, _, hidden, batch = step(tokens=5.0)
    total = 0.0
    for document in rendered:
        ids = torch.from_numpy(document.ids_T.astype(np.int64))[None]
        labels = torch.where(torch.from_numpy(document.symbol_T) >= 0, ids[0], -100)[None]
        with torch.no_grad():
            total += float(lm(ids, labels=labels).loss) * int((labels >= 0).sum())
    found = Sft().losses(lm, None, hidden, batch)
    assert torch.equal(found["loss"], found["token_loss"])
    assert found["loss"].item() == pytest.approx(total / 5, rel=1e-5)


@pytest.mark.parametrize("missing", ["token", "byte", "kl"])
def test_a_part_without_weight_is_not_computed(step, teacher, missing):
    lm, heads, hidden, batch = step(teacher)
    weights = {"token_weight": 1.0, "byte_weight": 0.5, "kl_weight": 0.25}
    every = Bld(**weights).losses(lm, heads, hidden, batch)
    parts = Bld(**weights | {f"{missing}_weight": 0.0}).losses(lm, heads, hidden, batch)
    assert every.keys() - parts.keys() == {f"{missing}_loss"}
    lost = weights[f"{missing}_weight"] * every[f"{missing}_loss"]
    torch.testing.assert_close(parts["loss"], every["loss"] - lost)


@st.composite
def distributions(draw):
    """A teacher and a student over 260 symbols, the teacher's zero for most, and how many to
    keep."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    possible = draw(st.integers(1, 12))
    p = np.zeros(SYMBOLS)
    p[random.permutation(258)[:possible]] = random.dirichlet(np.ones(possible))
    logits = draw(st.sampled_from([0.1, 1.0, 10.0])) * random.standard_normal(SYMBOLS)
    q = np.exp(logits) / np.exp(logits).sum()
    return p, q, draw(st.integers(1, 12)), draw(st.integers(0, 3))


def as_kept(p, k, unused):
    order = np.argsort(-p)[:k]
    order = order[p[order] > 0]
    log_probs = np.pad(np.log(p[order]), (0, unused), constant_values=-np.inf)
    tail = p.sum() - p[order].sum() if len(order) < (p > 0).sum() else 0.0
    with np.errstate(divide="ignore"):
        log_tail = np.log(max(tail, 0.0))
    symbols = np.pad(order, (0, unused), constant_values=SYMBOLS - 1)
    return (torch.tensor(x)[None] for x in (symbols, log_probs, log_tail))


@given(distributions())
@settings(deadline=None, max_examples=80)
def test_the_divergence_over_k_and_one_outcomes_is_never_negative_and_never_above_the_full_one(
    case,
):
    p, q, k, unused = case
    found = float(divergence_from_top_k(*as_kept(p, k, unused), torch.tensor(np.log(q))[None]))
    top = [s for s in np.argsort(-p)[:k] if p[s] > 0]
    by_hand = sum(p[s] * math.log(p[s] / q[s]) for s in top)
    rest = [s for s in range(SYMBOLS) if s not in top]
    if len(top) < (p > 0).sum():
        by_hand += p[rest].sum() * math.log(p[rest].sum() / q[rest].sum())
    full = sum(p[s] * math.log(p[s] / q[s]) for s in range(SYMBOLS) if p[s] > 0)
    assert found == pytest.approx(by_hand, rel=1e-9, abs=1e-12)
    assert -1e-12 <= found <= full + 1e-12


@given(distributions())
@settings(deadline=None, max_examples=40)
def test_a_student_equal_to_its_teacher_has_no_divergence_and_no_gradient(case):
    _, q, k, unused = case
    logits = torch.tensor(np.log(q))[None].requires_grad_()
    found = divergence_from_top_k(*as_kept(q, k, unused), logits.log_softmax(-1))
    found.sum().backward()
    assert float(found.detach()) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), atol=1e-12, rtol=0)


def test_the_gradient_is_that_of_finite_differences_with_and_without_tail_and_unused_places():
    torch.manual_seed(0)
    p = torch.rand(3, 4, dtype=torch.float64)
    log_probs = (p / p.sum(1, keepdim=True)).log()
    log_probs[1, 2:] = -torch.inf  # two places unused
    log_tail = torch.tensor([-1.5, -0.3, -torch.inf], dtype=torch.float64)  # none in the last row
    symbols = torch.tensor([[0, 1, 2, 3], [5, 0, 8, 8], [7, 6, 5, 4]])

    def divergence(logits):
        return divergence_from_top_k(symbols, log_probs, log_tail, logits.log_softmax(-1))

    logits = torch.randn(3, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(divergence, logits)


def softened(outcomes, temperature):
    total = sum(p ** (1 / temperature) for p in outcomes)
    return [p ** (1 / temperature) / total for p in outcomes]


@given(distributions(), st.sampled_from([0.5, 2.0, 5.0]))
@settings(deadline=None, max_examples=60)
def test_a_temperature_softens_both_sides_over_the_kept_outcomes(case, temperature):
    p, q, k, unused = case
    kept = as_kept(p, k, unused)
    found = divergence_from_top_k(*kept, torch.tensor(np.log(q))[None], temperature)
    top = [s for s in np.argsort(-p)[:k] if p[s] > 0]
    teacher, student = [p[s] for s in top], [q[s] for s in top]
    if len(top) < (p > 0).sum():
        teacher.append(1 - sum(teacher))
        student.append(sum(q) - sum(student))
    pairs = zip(softened(teacher, temperature), softened(student, temperature), strict=True)
    by_hand = temperature**2 * sum(a * math.log(a / b) for a, b in pairs if a)
    assert found.item() == pytest.approx(by_hand, rel=1e-6, abs=1e-9)


@given(distributions(), st.sampled_from([0.5, 2.0]))
@settings(deadline=None, max_examples=30)
def test_with_a_temperature_too_a_student_equal_to_its_teacher_has_no_divergence(case, temperature):
    _, q, k, unused = case
    logits = torch.tensor(np.log(q))[None].requires_grad_()
    kept = as_kept(q, k, unused)
    found = divergence_from_top_k(*kept, logits.log_softmax(-1), temperature)
    found.sum().backward()
    assert found.item() == pytest.approx(0, abs=1e-9)
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), atol=1e-9, rtol=0)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("log_tail", [-2.0, -20.0, -math.inf])
@pytest.mark.parametrize("extreme", [100.0, 1e4, 1e20])
def test_a_student_that_excludes_what_its_teacher_says_has_a_finite_gradient(
    extreme, log_tail, temperature
):
    log_probs = torch.tensor([[0.0, -3.0, -math.inf], [0.0, -math.inf, -math.inf]])
    symbols = torch.tensor([[7, 9, SYMBOLS - 1], [9, SYMBOLS - 1, SYMBOLS - 1]])
    logits = torch.zeros(2, SYMBOLS)
    logits[:, 7], logits[:, 9] = -extreme, extreme
    logits.requires_grad_()
    tails = torch.tensor([log_tail, log_tail])
    found = divergence_from_top_k(symbols, log_probs, tails, logits.log_softmax(-1), temperature)
    found.sum().backward()
    assert torch.isfinite(found).all() and torch.isfinite(logits.grad).all()


def test_a_batch_whose_symbols_are_all_masked_costs_nothing(step, teacher):
    lm, heads, hidden, batch = step(teacher)
    batch.blank_N[:] = True
    found = Bld(kl_weight=0.5, mask_whitespace=True).losses(lm, heads, hidden, batch)
    assert found["byte_loss"] == found["kl_loss"] == 0
    assert found["loss"] == found["token_loss"] > 0
    found["loss"].backward()
    assert not heads.weight.grad.any()
