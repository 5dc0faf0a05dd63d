import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.config.methods.mined import MinedSettings as Settings
from bld.symbols import END
from bld.tokenization.maps.files import load_map, map_of, save_map
from bld.tokenization.maps.mined import closest_entries
from bld.training.objective import ObjectiveContext
from bld.training.objectives.mined import (
    Mined,
    build,
    divergence,
    edit_distances,
    letters,
    only_partners,
    warped,
)


def edit_distance(left, right):
    @cache
    def of(i, j):
        if not i or not j:
            return i + j
        return min(
            of(i - 1, j) + 1, of(i, j - 1) + 1, of(i - 1, j - 1) + (left[i - 1] != right[j - 1])
        )

    return of(len(left), len(right))


def time_warping(cost):
    """The pairs of the cheapest path, as the recurrence has it; steps back: in both, in the rows,
    in the columns, the first that is cheapest."""

    @cache
    def total(i, j):
        if i < 0 or j < 0:
            return 0 if i == j == -1 else math.inf
        return cost[i][j] + min(total(i - 1, j - 1), total(i - 1, j), total(i, j - 1))

    i, j = len(cost) - 1, len(cost[0]) - 1
    path = [(i, j)]
    while (i, j) != (0, 0):
        back = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        i, j = min(back, key=lambda place: total(*place) if min(place) >= 0 else math.inf)
        path.append((i, j))
    return path


def spelling(token, vocabulary):
    return ["end"] if token in vocabulary.end else list(vocabulary.token_bytes[token])


def unmarked(token, vocabulary):
    return tuple(letter for letter in spelling(token, vocabulary) if letter != ord(" "))


def learnt(stretch, closest, vocabularies):
    """For every student token the index of the teacher token that it learns from, or None."""
    own, theirs = vocabularies
    if not stretch.teacher:
        return [None] * len(stretch.student)
    cost = [
        [edit_distance(unmarked(t, theirs), unmarked(s, own)) for *_, s in stretch.student]
        for *_, t in stretch.teacher
    ]
    aligned = {k: [] for k in range(len(stretch.student))}
    for i, k in time_warping(cost):
        aligned[k].append(i)
    partners = []
    for k, (*_, s) in enumerate(stretch.student):
        i = aligned[k][0]
        t = stretch.teacher[i][2]
        fits = spelling(s, own) == spelling(t, theirs) or closest.get(t) == s
        partners.append(i if len(aligned[k]) == 1 and fits else None)
    return partners


def moved_divergence(teacher, student, closest, keep):
    """KL over the kept tokens' places in the student's vocabulary, and one outcome for all
    others."""
    mass = {}
    for token in np.argsort(-teacher)[:keep].tolist():
        if token in closest:
            mass[closest[token]] = mass.get(closest[token], 0.0) + math.exp(teacher[token])
    total = sum(p * (math.log(p) - student[token]) for token, p in mass.items())
    beside = 1 - sum(mass.values())
    if beside > 1e-9:
        left = sum(math.exp(q) for token, q in enumerate(student) if token not in mass)
        total += beside * math.log(beside / left)
    return total


@pytest.fixture
def objective(renderer, other_renderer, tmp_path, tiny_model):
    """(without these ids of the teacher) -> the objective as a stage builds it, and its map."""

    def make(without=(), **settings):
        pairs = zip(*closest_entries(renderer.vocabulary, other_renderer.vocabulary), strict=True)
        save_map(tmp_path / "map.parquet", map_of(p for p in pairs if p[1] not in without))
        context = ObjectiveContext(
            tiny_model(), renderer, other_renderer.vocabulary, map=tmp_path / "map.parquet"
        )
        found = load_map(context.map)
        closest = dict(zip(found.teacher_M.tolist(), found.student_M.tolist(), strict=True))
        return build(settings, context).objective, closest

    return make


@pytest.mark.parametrize("without", [(), range(280, 310)])
@pytest.mark.parametrize("keep", [310, 5])
@pytest.mark.parametrize("row_length", [24, 128])
def test_mined_learns_from_aligned_tokens_and_from_its_own_where_there_are_none(
    pair, stretches, objective, renderer, other_renderer, without, keep, row_length
):
    found = pair(keep, row_length)
    made, closest = objective(without, token_weight=0.6, kl_weight=0.4)
    total, partners = 0.0, []
    for stretch in stretches(found):
        chosen = learnt(stretch, closest, (renderer.vocabulary, other_renderer.vocabulary))
        partners += chosen
        for k, i in enumerate(chosen):
            says = stretch.student_says[k]
            if i is None:
                total -= says[stretch.student[k][2]]
            else:
                total += moved_divergence(stretch.teacher_says[i], says, closest, keep)
    losses = made.losses(found.lm, None, found.hidden_XH, found.batch)
    assert 0.2 < np.mean([i is None for i in partners]) < 0.8
    assert (made.partners(found.batch) < 0).tolist() == [i is None for i in partners]
    assert losses["teacher_loss"].item() == pytest.approx(total / found.tokens, rel=1e-5)
    expected = 0.6 * losses["token_loss"] + 0.4 * losses["teacher_loss"]
    torch.testing.assert_close(losses["loss"], expected)


def test_the_cross_entropy_is_that_of_the_students_tokens(pair, stretches, objective):
    found = pair()
    losses = objective()[0].losses(found.lm, None, found.hidden_XH, found.batch)
    total = -sum(
        says[token]
        for stretch in stretches(found)
        for (*_, token), says in zip(stretch.student, stretch.student_says, strict=True)
    )
    assert losses["token_loss"].item() == pytest.approx(total / found.tokens, rel=1e-5)


def test_an_end_that_the_student_does_not_write_is_no_partner(pair, mirror, renderer):
    batch = mirror(pair(tokens=100.0), 300)
    spelt = letters(renderer.vocabulary)
    made = Mined(Settings(), np.arange(300), spelt, spelt, 300)
    is_text_S = batch.symbols_N[batch.symbol_S] != END
    columns = ("source_S", "target_S", "symbol_S", "count_S")
    endless = replace(batch, **{name: getattr(batch, name)[is_text_S] for name in columns})
    assert made.partners(endless).tolist() == np.flatnonzero(is_text_S).tolist()
    assert not is_text_S.all()


@pytest.mark.parametrize("keep", [4, 300])
def test_a_teacher_that_is_the_student_is_at_no_distance(pair, mirror, renderer, keep):
    found = pair(tokens=100.0)
    batch = mirror(found, keep)
    spelt = letters(renderer.vocabulary)
    made = Mined(Settings(token_weight=0.0, kl_weight=1.0), np.arange(300), spelt, spelt, 300)
    assert made.partners(batch).tolist() == list(range(len(batch.target_S)))
    losses = made.losses(found.lm, None, found.hidden_XH, batch)
    losses["loss"].backward()
    assert losses["loss"].item() == pytest.approx(0, abs=1e-6)
    assert found.hidden_XH.grad.abs().max() < 1e-6


def test_other_numbers_for_the_same_tokens_change_nothing(pair, objective, other_renderer):
    found, last = pair(keep=20), len(other_renderer.vocabulary) - 1
    made, _ = objective()
    before = made.losses(found.lm, None, found.hidden_XH, found.batch)
    shuffle = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found.lm.lm_head.weight[shuffle] = found.lm.lm_head.weight.clone()
    found.batch.target_S = shuffle[found.batch.target_S]
    teacher = found.batch.teacher_tokens
    found.batch.teacher_tokens = teacher._replace(
        ids_UK=last - teacher.ids_UK, token_U=last - teacher.token_U
    )
    closest_W = np.where(made.closest_W < 0, -1, shuffle.numpy()[made.closest_W])[::-1].copy()
    renumbered = Mined(
        made.settings,
        closest_W,
        {int(shuffle[i]): text for i, text in made.student.items()},
        {last - i: text for i, text in made.teacher.items()},
        300,
    )
    after = renumbered.losses(found.lm, None, found.hidden_XH, found.batch)
    torch.testing.assert_close(after, before)


def test_the_gradient_is_that_of_finite_differences():
    torch.manual_seed(0)
    probs = torch.tensor([[0.5, 0.2, 0.1], [1.0, 0.0, 0.0]], dtype=torch.float64)
    ids = torch.tensor([[4, 2, 4], [3, 0, 0]])  # two teacher tokens in one place
    beside = torch.tensor([0.2, 0.0], dtype=torch.float64)
    target, first = torch.tensor([4, 3]), torch.arange(6)
    logits = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x: divergence(x.log_softmax(1), first, target, ids, probs, beside), logits
    )
    found = divergence(logits.log_softmax(1), first, target, ids, probs, beside)
    torch.testing.assert_close(found[1, 0], found[1, 1])  # certain of its own token


def test_where_nothing_is_supervised_the_loss_is_0_and_has_a_gradient(
    nothing_supervised, objective
):
    found = nothing_supervised
    losses = objective()[0].losses(found.lm, None, found.hidden_XH, found.batch)
    losses["loss"].backward()
    assert losses["loss"] == 0 and not found.hidden_XH.grad.any()


@given(st.lists(st.text("ab", max_size=5), min_size=1), st.lists(st.text("abc"), min_size=1))
@settings(deadline=None, max_examples=60)
def test_edit_distances_are_those_of_the_recurrence(rows, columns):
    expected = [[edit_distance(row, column) for column in columns] for row in rows]
    assert edit_distances(rows, columns).tolist() == expected


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32))
@settings(deadline=None, max_examples=200)
def test_sequences_are_warped_along_the_cheapest_path(rows, columns, seed):
    cost = np.random.default_rng(seed).integers(0, 4, (rows, columns))
    path = time_warping(cost.tolist())
    assert warped(cost) == path
    times = [[i for i, j in path if j == column] for column in range(columns)]
    expected = [one[0] if len(one) == 1 else -1 for one in times]
    assert only_partners(cost).tolist() == expected


def test_what_is_written_twice_in_a_vocabulary_is_one_outcome():
    """As with byte fallback: the teacher's mass is moved to the entry that no text is written
    with."""
    probs, ids = torch.tensor([[0.9]]), torch.tensor([[0]])
    twins, beside = torch.tensor([0, 1, 0]), torch.tensor([0.1])
    written_with_the_other = torch.tensor([[0.0, 0.1, 0.9]]).clamp_min(1e-20).log()
    found = divergence(written_with_the_other, twins, torch.tensor([2]), ids, probs, beside)
    torch.testing.assert_close(found[0, 0], torch.tensor(0.0), atol=1e-6, rtol=0)
