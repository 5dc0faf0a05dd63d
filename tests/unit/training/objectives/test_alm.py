import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bld.config.methods.alm import AlmSettings as Settings
from bld.training.alignment import chunks
from bld.training.objective import ObjectiveContext
from bld.training.objectives.alm import Alm, build, joined, openers, tempered


def shared_chunks(stretch):
    """Positions (i, j, k, l): teacher tokens i:j and student tokens k:l spell the same, and no
    fewer do ("Alignment Indices", greedy)."""
    found, i, k = [], 0, 0
    for j in range(1, len(stretch.teacher) + 1):
        for l in range(k + 1, len(stretch.student) + 1):  # noqa: E741
            theirs, own = stretch.teacher[i:j], stretch.student[k:l]
            if theirs[0][0] == own[0][0] and sum(t[1] for t in theirs) == sum(t[1] for t in own):
                found.append((i, j, k, l))
                i, k = j, l
                break
    return found


def log_likelihood(tokens, says):
    return sum(log_probs[token[2]] for token, log_probs in zip(tokens, says, strict=True))


def opening_mass(log_probs, vocabulary):
    """Log-probability that a pretoken begins: a space, a tab, a newline, or a special token."""
    total = 0.0
    for token_id, log_prob in enumerate(log_probs):
        spelt = vocabulary.token_bytes[token_id] if token_id < len(vocabulary) else None
        if token_id in vocabulary.special or (spelt and spelt[:1] in (b" ", b"\t", b"\n")):
            total += math.exp(log_prob)
    return math.log(total)


def known_mass(log_probs, vocabulary, keep):
    """The part of it among the `keep` most probable tokens, and with all others added."""
    kept = set(np.argsort(-log_probs)[:keep].tolist())
    masked = np.array([p if i in kept else -np.inf for i, p in enumerate(log_probs)])
    beside = 1 - sum(math.exp(log_probs[i]) for i in kept)
    least = -100.0
    if any(p > -np.inf and opens(i, vocabulary) for i, p in enumerate(masked)):
        least = opening_mass(masked, vocabulary)
    return least, math.log(math.exp(least) + beside)


def opens(token_id, vocabulary):
    spelt = vocabulary.token_bytes[token_id]
    return token_id in vocabulary.special or (spelt and spelt[0] in b" \t\n")


def debiased(stretch, found, vocabularies, threshold, keep):
    """(teacher, student) log-likelihoods of chunks joined up to a boundary, that boundary
    included."""
    student_vocabulary, teacher_vocabulary = vocabularies
    teacher_sum = student_sum = 0.0
    for number, (i, j, k, l) in enumerate(found):  # noqa: E741
        teacher_sum += log_likelihood(stretch.teacher[i:j], stretch.teacher_says[i:j])
        student_sum += log_likelihood(stretch.student[k:l], stretch.student_says[k:l])
        if j < len(stretch.teacher) and l < len(stretch.student):
            student = opening_mass(stretch.student_says[l], student_vocabulary)
            teacher = likely = opening_mass(stretch.teacher_says[j], teacher_vocabulary)
            if keep:
                likely, most = known_mass(stretch.teacher_says[j], teacher_vocabulary, keep)
                teacher = min(max(student, likely), most)
            is_followed = number + 1 < len(found) and found[number + 1][0] == j
            if is_followed and math.exp(likely) <= threshold:
                continue
            teacher_sum, student_sum = teacher_sum + teacher, student_sum + student
        yield teacher_sum, student_sum
        teacher_sum = student_sum = 0.0


def alm(log_p, log_q, tau=100.0):
    """ "ALM Objective" for the KL divergence: p and q as they are, tempered, and their
    complements."""
    p, q = (math.exp(side / tau - 1e-6) for side in (log_p, log_q))
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


@pytest.fixture
def objective(renderer, other_renderer):
    def make(**settings):
        found = build(settings, ObjectiveContext(None, renderer, other_renderer.vocabulary))
        return found.objective

    return make


@pytest.mark.parametrize("row_length", [24, 128])
def test_alm_compares_the_likelihoods_of_shared_chunks(pair, stretches, objective, row_length):
    found = pair(1, row_length)
    total, sizes = 0.0, set()
    for stretch in stretches(found):
        for i, j, k, l in shared_chunks(stretch):  # noqa: E741
            sizes.add((j - i, l - k))
            total += alm(
                log_likelihood(stretch.teacher[i:j], stretch.teacher_says[i:j]),
                log_likelihood(stretch.student[k:l], stretch.student_says[k:l]),
            )
    assert len(sizes) > 4
    made = objective(boundary=None, token_weight=0.5, chunk_weight=2.0)
    losses = made.losses(found.lm, None, found.hidden_XH, found.batch)
    assert losses["teacher_loss"].item() == pytest.approx(100 * total / found.tokens, rel=1e-5)
    torch.testing.assert_close(
        losses["loss"], 0.5 * losses["token_loss"] + 2.0 * losses["teacher_loss"]
    )


@pytest.mark.parametrize("threshold", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("keep", [None, 12])
@pytest.mark.parametrize("row_length", [24, 128])
def test_chunks_are_joined_up_to_a_boundary_which_counts(
    pair, stretches, objective, renderer, other_renderer, threshold, keep, row_length
):
    found = pair(keep, row_length)
    vocabularies = renderer.vocabulary, other_renderer.vocabulary
    groups = [
        group
        for stretch in stretches(found)
        for group in debiased(stretch, shared_chunks(stretch), vocabularies, threshold, keep)
    ]
    made = objective(boundary=threshold)
    losses = made.losses(found.lm, None, found.hidden_XH, found.batch)
    expected = 100 * sum(alm(*group) for group in groups) / found.tokens
    assert losses["teacher_loss"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("spans_U", "is_known"),
    [([(0, 2), (2, 1), (4, 2)], True), ([(0, 2), (4, 2)], False)],
    ids=["the teacher goes on", "the teacher's next token reaches across the edge"],
)
def test_a_chunk_before_an_edge_that_both_do_not_share_is_joined_to_nothing(spans_U, is_known):
    """The student spells 2 and 2 symbols in one row, then 2 in another; the teacher the first and
    the last of them, and what begins at symbol 2 ends somewhere behind the edge at 4."""
    span_S, span_U = torch.tensor([(0, 2), (2, 2), (4, 2)]), torch.tensor(spans_U)
    batch = SimpleNamespace(
        source_S=torch.tensor([5, 6, 24]),
        symbol_S=span_S[:, 0],
        count_S=span_S[:, 1],
        symbols_N=torch.zeros(6),
        teacher_tokens=SimpleNamespace(symbol_U=span_U[:, 0], count_U=span_U[:, 1]),
    )
    boundary_S = torch.tensor([-9.0, -0.5, -9.0], dtype=torch.float64)
    boundary_U2 = torch.full((len(spans_U), 2), -0.25, dtype=torch.float64)
    likelihoods = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]], dtype=torch.float64)
    student, teacher = joined(batch, chunks(batch), *likelihoods, boundary_S, boundary_U2, 1.0)
    assert student.tolist() == [-1.5 if is_known else -1.0, -2.0]
    assert teacher.tolist() == [-3.25 if is_known else -3.0, -4.0]


@pytest.mark.parametrize("boundary", [None, 0.1])
@pytest.mark.parametrize("keep", [3, 400])
@pytest.mark.parametrize("divergence", ["kl", "reverse_kl", "total_variation"])
def test_a_teacher_that_is_the_student_is_at_no_distance(
    pair, mirror, renderer, boundary, keep, divergence
):
    found = pair(tokens=100.0)
    batch = mirror(found, keep)
    settings = {"token_weight": 0.0, "boundary": boundary, "divergence": divergence}
    context = ObjectiveContext(None, renderer, renderer.vocabulary)
    made = build(settings, context).objective
    losses = made.losses(found.lm, None, found.hidden_XH, batch)
    losses["loss"].backward()
    assert losses["loss"].item() == pytest.approx(
        0, abs=1e-6 if divergence != "total_variation" else 1e-4
    )
    if divergence != "total_variation":
        assert found.hidden_XH.grad.abs().max() < 1e-6


def test_with_equal_tokenizers_the_chunks_are_the_tokens(pair, mirror):
    found = pair()
    of = chunks(mirror(found, 3))
    assert of.of_S.tolist() == of.of_U.tolist() == list(range(len(found.batch.target_S)))


def test_other_numbers_for_the_same_tokens_change_nothing(pair, renderer, other_renderer):
    found = pair(keep=20)
    own, theirs = openers(renderer.vocabulary), openers(other_renderer.vocabulary)
    before = Alm(Settings(), torch.tensor(own), torch.tensor(theirs)).losses(
        found.lm, None, found.hidden_XH, found.batch
    )
    shuffle = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found.lm.lm_head.weight[shuffle] = found.lm.lm_head.weight.clone()
    found.batch.target_S = shuffle[found.batch.target_S]
    teacher = found.batch.teacher_tokens
    found.batch.teacher_tokens = teacher._replace(
        ids_UK=309 - teacher.ids_UK, token_U=309 - teacher.token_U
    )
    after = Alm(Settings(), shuffle[own], 309 - torch.tensor(theirs)).losses(
        found.lm, None, found.hidden_XH, found.batch
    )
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize("divergence", ["kl", "reverse_kl", "total_variation"])
def test_the_gradient_is_that_of_finite_differences(divergence):
    teacher = torch.tensor([-0.01, -0.7, -3.0, -40.0], dtype=torch.float64)
    student = torch.tensor([-0.5, -0.8, -9.0, -2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: tempered(teacher, x, 100.0, divergence), student)


def test_at_a_high_temperature_the_gradient_is_of_the_size_of_the_cross_entropys():
    """d/dl (-l) is -1; the limit is that of the authors' `binary_kl_temp_limit`."""
    teacher = torch.tensor([-0.3, -0.7, -3.0, -40.0], dtype=torch.float64)
    student = torch.tensor([-0.5, -0.7, -9.0, -2.0], dtype=torch.float64, requires_grad=True)
    (1e4 * tempered(teacher, student, 1e4, "kl")).sum().backward()
    limit = teacher / student.detach() - 1
    torch.testing.assert_close(student.grad, limit, rtol=0.02, atol=0.02)


def test_a_certain_token_has_a_finite_gradient():
    student = torch.tensor([0.0, 0.0, -1e-9], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([0.0, -5.0, -5.0], dtype=torch.float64)
    found = tempered(teacher, student, 100.0, "kl")
    found.sum().backward()
    assert torch.isfinite(found).all() and torch.isfinite(student.grad).all()


@pytest.mark.parametrize("boundary", [None, 0.1])
def test_where_nothing_is_supervised_the_loss_is_0_and_has_a_gradient(
    nothing_supervised, objective, boundary
):
    found = nothing_supervised
    losses = objective(boundary=boundary).losses(found.lm, None, found.hidden_XH, found.batch)
    losses["loss"].backward()
    assert losses["loss"] == 0 and not found.hidden_XH.grad.any()
