from itertools import zip_longest
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bld.config.methods.uld import UldSettings as Settings
from bld.training.objectives.uld import Uld, paired_in_order, sorted_distance


def distance(student, teacher):
    """The closed form of the paper: both sorted, the shorter filled up with zeros."""
    falling = [sorted(np.exp(side), reverse=True) for side in (student, teacher)]
    return sum(abs(p - q) for p, q in zip_longest(*falling, fillvalue=0.0))


def distance_of_top(student, teacher, keep):
    """The teacher's `keep` largest one by one, and all others together."""
    p, q = (sorted(np.exp(side), reverse=True) for side in (student, teacher))
    return sum(abs(a - b) for a, b in zip(p[:keep], q[:keep], strict=True)) + abs(
        sum(p[keep:]) - sum(q[keep:])
    )


@pytest.mark.parametrize("keep", [None, 5])
@pytest.mark.parametrize("mask_end", [False, True])
@pytest.mark.parametrize("row_length", [24, 128])
def test_uld_pairs_the_tokens_of_every_stretch_in_order(
    pair, stretches, renderer, keep, mask_end, row_length
):
    found = pair(keep, row_length)
    total = pairs = 0
    for stretch in stretches(found):
        for number in range(min(len(stretch.student), len(stretch.teacher))):
            if mask_end and stretch.student[number][2] in renderer.vocabulary.end:
                continue
            student, teacher = stretch.student_says[number], stretch.teacher_says[number]
            total += distance_of_top(student, teacher, keep) if keep else distance(student, teacher)
            pairs += 1
    objective = Uld(Settings(token_weight=0.5, distance_weight=1.5, mask_end=mask_end))
    losses = objective.losses(found.lm, None, found.hidden_XH, found.batch)
    assert len(paired_in_order(found.batch, mask_end)[0]) == pairs
    assert losses["teacher_loss"].item() == pytest.approx(total / found.tokens, rel=1e-5)
    expected = 0.5 * losses["token_loss"] + 1.5 * losses["teacher_loss"]
    torch.testing.assert_close(losses["loss"], expected)


def test_what_is_known_of_the_teacher_never_adds_to_the_distance():
    random = np.random.default_rng(0)
    for keep in range(1, 12):
        student = torch.tensor(4 * random.standard_normal((1, 9))).log_softmax(1)
        teacher = torch.tensor(4 * random.standard_normal((1, 12))).log_softmax(1)
        kept = teacher.topk(keep, 1).values
        log_tail = torch.log1p(-kept.exp().sum(1))
        full = distance(student[0].numpy(), teacher[0].numpy())
        assert sorted_distance(student, kept, log_tail).item() <= full + 1e-12


def test_unused_places_count_as_nothing():
    student = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64).log()
    teacher = torch.tensor([[0.9, 0.1, 0.0, 0.0]], dtype=torch.float64).log()
    found = sorted_distance(student, teacher, torch.tensor([-torch.inf], dtype=torch.float64))
    assert found.item() == pytest.approx(0.4 + 0.2 + 0.2)


@pytest.mark.parametrize("keep", [4, 400])
def test_a_teacher_that_is_the_student_is_at_no_distance(pair, mirror, keep):
    found = pair(tokens=100.0)
    batch = mirror(found, keep)
    losses = Uld(Settings(token_weight=0)).losses(found.lm, None, found.hidden_XH, batch)
    assert losses["loss"].item() == pytest.approx(0, abs=1e-6)
    if keep >= 300:
        losses["loss"].backward()
        assert found.hidden_XH.grad.abs().max() < 1e-6


def test_other_numbers_for_the_same_tokens_change_nothing(pair):
    found = pair(keep=6)
    before = Uld(Settings()).losses(found.lm, None, found.hidden_XH, found.batch)
    shuffle = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found.lm.lm_head.weight[shuffle] = found.lm.lm_head.weight.clone()
    found.batch.target_S = shuffle[found.batch.target_S]
    teacher = found.batch.teacher_tokens
    found.batch.teacher_tokens = teacher._replace(
        ids_UK=309 - teacher.ids_UK, token_U=309 - teacher.token_U
    )
    after = Uld(Settings()).losses(found.lm, None, found.hidden_XH, found.batch)
    torch.testing.assert_close(after, before)


def test_the_gradient_is_that_of_finite_differences():
    torch.manual_seed(0)
    teacher = torch.randn(3, 7, dtype=torch.float64).log_softmax(1).topk(4, 1).values
    log_tail = torch.log1p(-teacher.exp().sum(1))
    logits = torch.randn(3, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda logits: sorted_distance(logits.log_softmax(1), teacher, log_tail), logits
    )


def test_where_nothing_is_supervised_the_loss_is_0_and_has_a_gradient(nothing_supervised):
    found = nothing_supervised
    losses = Uld(Settings()).losses(found.lm, None, found.hidden_XH, found.batch)
    losses["loss"].backward()
    assert losses["loss"] == 0 and not found.hidden_XH.grad.any()


@pytest.mark.filterwarnings("ignore")
def test_uld_is_that_of_trl(pair, stretches):
    """TRL's loss without its own ideas: positions paired in order (not its merged spans), logits
    where a token is predicted ("bayesian" takes those, "observed" the next ones), ends of turns
    included, no cross-entropy, nothing matched by name."""
    from trl.experimental.gold.gold_trainer import ULDLoss  # takes seconds

    theirs = ULDLoss(
        SimpleNamespace(
            uld_crossentropy_weight=0.0,
            uld_distillation_weight=1.0,
            uld_student_temperature=1.0,
            uld_teacher_temperature=1.0,
            uld_skip_student_eos=False,
            uld_skip_teacher_eos=False,
            use_extended_uld=False,
            uld_token_merge_strategy="bayesian",
            uld_use_hybrid_loss=False,
        )
    )

    def as_sequence(says, tokens):
        """Logits one before each token, which is the first to have a label."""
        logits = torch.tensor(np.array([*says, np.zeros_like(says[0])]))[None]
        labels = torch.tensor([[-100, *(token for _, _, token in tokens)]])
        return logits, labels

    found = pair(row_length=128)
    total = 0.0
    for stretch in stretches(found):
        student, student_labels = as_sequence(stretch.student_says, stretch.student)
        teacher, teacher_labels = as_sequence(stretch.teacher_says, stretch.teacher)
        mean = theirs(
            student, teacher, student_labels, teacher_labels, student_labels, teacher_labels
        )
        total += mean.item() * min(len(stretch.student), len(stretch.teacher))
    made = Uld(Settings(mask_end=False))
    losses = made.losses(found.lm, None, found.hidden_XH, found.batch)
    assert losses["teacher_loss"].item() * found.tokens == pytest.approx(total, rel=1e-5)
