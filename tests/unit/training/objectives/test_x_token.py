import math
from collections import Counter, defaultdict
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bld.config.methods.x_token import XTokenSettings as Settings
from bld.tokenization.maps.files import map_of, save_map
from bld.tokenization.maps.x_token import make_map as x_token_map
from bld.tokenization.vocabulary import Vocabulary, spelt
from bld.training.objective import ObjectiveContext
from bld.training.objectives import x_token
from bld.training.objectives.x_token import Projection, SpanTargets, XToken, hybrid_kl

LOSSES = [
    {"loss": "p_kl"},
    {"loss": "h_kl", "matching": "relaxed"},
    {"loss": "h_kl", "matching": "strict"},
]
PLAIN = {"token_weight": 0.0}


@pytest.fixture
def objective(renderer, other_renderer, tmp_path):
    """(settings, lm) -> the objective of a student and the other tokenizer's teacher, or the one
    given."""

    def make(settings, lm, teacher=other_renderer, pairs=None):
        save_map(tmp_path / "map.parquet", pairs or x_token_map(renderer, teacher))
        context = ObjectiveContext(
            lm, renderer, teacher=teacher.vocabulary, map=tmp_path / "map.parquet"
        )
        return x_token.build(settings, context).objective

    return make


class Slow:
    """Both losses of one span at a time, over dictionaries of what is spelt, in float64."""

    def __init__(self, student, teacher, pairs):
        self.texts, self.theirs = spelt(student), spelt(teacher)
        self.rows = defaultdict(Counter)
        for s, t, w in zip(*(column.tolist() for column in pairs), strict=True):
            self.rows[s][self.theirs[t]] += w
        self.reached = {text for row in self.rows.values() for text in row}

    def teacher_of(self, says, keep):
        """Mean over the tokens of a span: kept outcomes, what is beside them, and the tail
        alone."""
        p, beside, tail = Counter(), 0.0, 0.0
        for row in says:
            kept = np.argsort(-row)[:keep]
            for i in kept:
                if i in self.theirs:
                    p[self.theirs[i]] += math.exp(row[i]) / len(says)
                else:
                    beside += math.exp(row[i]) / len(says)
            if keep < len(row):
                tail += (1 - sum(math.exp(row[i]) for i in kept)) / len(says)
        return p, beside + tail, tail

    def p_kl(self, q, p, beside, tail):
        projected = Counter()
        for s, mass in enumerate(q):
            for text, weight in self.rows[s].items():
                projected[text] += mass * weight
        kept = [text for text in p if text in self.reached]
        total = sum(p[text] for text in kept) + beside
        outcomes = [(p[text] / total, projected[text]) for text in kept]
        left = sum(q) - sum(projected[text] for text in kept)
        return kl([*outcomes, (beside / total, left)])

    def h_kl(self, q, p, beside, tail, matching):
        pairs = self.common(matching == "strict")
        mass = Counter()
        for s, text in self.texts.items():
            mass[text] += q[s]
        of = {theirs: mass[ours] for ours, theirs in pairs.items()}
        ours = [q[s] for s, text in self.texts.items() if text not in pairs and self.rows[s]]
        ours, theirs = (
            sorted(ours, reverse=True),
            sorted((p[text] for text in p if text not in of), reverse=True),
        )
        compared = len(theirs) if tail else max(len(ours), len(theirs))
        pad = [0.0] * compared
        distance = sum(
            abs(a - b)
            for a, b in zip((theirs + pad)[:compared], (ours + pad)[:compared], strict=True)
        )
        kept = [text for text in p if text in of]
        left = sum(q) - sum(of[text] for text in kept) - sum(ours[:compared])
        return kl([*((p[text], of[text]) for text in kept), (beside, left)]) + distance

    def common(self, strict):
        """What a student's token spells -> the text that it is common with."""
        wishes = defaultdict(list)
        for s in sorted(self.rows):
            text, weight = max(self.rows[s].items(), key=lambda item: item[1])
            is_other = text != self.texts[s]
            if not (strict and is_other):
                wishes[text].append((is_other, -weight, s))
        return {self.texts[min(wished)[-1]]: text for text, wished in wishes.items()}


def kl(outcomes):
    return sum(p * math.log(p / q) for p, q in outcomes if p > 0)


def spans_of(stretch):
    """(what the student says, what the teacher says) at the tokens of each shortest common span."""
    ours, theirs = (
        {symbol: symbol + count for symbol, count, _ in tokens}
        for tokens in (stretch.student, stretch.teacher)
    )
    cuts = sorted(({*ours} | {*ours.values()}) & ({*theirs} | {*theirs.values()}))
    for start, stop in pairwise(cuts):
        sides = [
            [
                (token, row)
                for token, row in zip(tokens, says, strict=True)
                if start <= token[0] < stop
            ]
            for tokens, says in (
                (stretch.student, stretch.student_says),
                (stretch.teacher, stretch.teacher_says),
            )
        ]
        if all(sum(token[1] for token, _ in side) == stop - start for side in sides):
            yield tuple([row for _, row in side] for side in sides)


@pytest.mark.parametrize("settings", LOSSES, ids=lambda settings: "-".join(settings.values()))
@pytest.mark.parametrize("keep", [None, 6])
def test_losses_are_those_of_one_span_at_a_time(
    pair, stretches, objective, renderer, other_renderer, settings, keep
):
    found = pair(keep)
    slow = Slow(
        renderer.vocabulary, other_renderer.vocabulary, x_token_map(renderer, other_renderer)
    )
    expected, lengths = 0.0, []
    for stretch in stretches(found):
        for ours, theirs in spans_of(stretch):
            q = np.exp(ours).mean(0)
            said = slow.teacher_of(theirs, keep or len(theirs[0]))
            loss, *matching = settings.values()
            expected += getattr(slow, loss)(q, *said, *matching)
            lengths.append((len(ours), len(theirs)))
    assert {1, 2} <= {a for a, _ in lengths} and {1, 2} <= {b for _, b in lengths}
    parts = objective(settings | PLAIN, found.lm).losses(
        found.lm, None, found.hidden_XH, found.batch
    )
    assert parts["teacher_loss"].item() * found.tokens == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("settings", LOSSES, ids=lambda settings: "-".join(settings.values()))
@pytest.mark.parametrize("keep", [1000, 6])
def test_a_student_equal_to_its_teacher_has_no_loss_and_no_gradient(
    pair, mirror, objective, renderer, settings, keep
):
    found = pair()
    batch = mirror(found, keep)
    parts = objective(settings | PLAIN, found.lm, renderer).losses(
        found.lm, None, found.hidden_XH, batch
    )
    parts["loss"].backward()
    assert parts["teacher_loss"].item() == pytest.approx(0, abs=1e-5)
    assert found.hidden_XH.grad.abs().max() < 1e-5


@pytest.mark.parametrize("settings", LOSSES, ids=lambda settings: "-".join(settings.values()))
def test_with_equal_tokenizers_it_is_the_plain_divergence(
    pair, mirror, objective, renderer, settings
):
    found = pair()
    batch = mirror(found, 1000)
    tokens = batch.teacher_tokens
    torch.manual_seed(0)
    batch.teacher_tokens = tokens = tokens._replace(
        ids_UK=torch.arange(300).expand_as(tokens.ids_UK),
        log_probs_UK=torch.randn(tokens.ids_UK.shape).log_softmax(1),
    )
    parts = objective(settings | PLAIN, found.lm, renderer).losses(
        found.lm, None, found.hidden_XH, batch
    )
    with torch.no_grad():
        logits = found.lm.get_output_embeddings()(found.hidden_XH[batch.source_S])
    # Special tokens, which spell nothing and end nothing, are one outcome.
    silent = sorted(set(range(300)) - spelt(renderer.vocabulary).keys())
    teacher, student = (
        merged(side.double().exp(), silent) for side in (tokens.log_probs_UK, logits.log_softmax(1))
    )
    expected = (teacher * (teacher / student).log()).sum() / found.tokens
    assert parts["teacher_loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def merged(probs, ids):
    others = [i for i in range(probs.shape[1]) if i not in ids]
    return torch.cat([probs[:, others], probs[:, ids].sum(1, keepdim=True)], 1)


@pytest.mark.parametrize("settings", LOSSES, ids=lambda settings: "-".join(settings.values()))
def test_renumbering_the_teachers_vocabulary_changes_nothing(
    pair, objective, renderer, other_renderer, settings
):
    found, pairs = pair(6), x_token_map(renderer, other_renderer)
    before = objective(settings | PLAIN, found.lm).losses(
        found.lm, None, found.hidden_XH, found.batch
    )
    size = len(other_renderer.vocabulary)
    new = torch.randperm(size, generator=torch.Generator().manual_seed(0))
    tokens = found.batch.teacher_tokens
    found.batch.teacher_tokens = tokens._replace(ids_UK=new[tokens.ids_UK])
    teacher = SimpleNamespace(vocabulary=renumbered(other_renderer.vocabulary, new.tolist()))
    moved = map_of(
        (s, new[t].item(), w) for s, t, w in zip(*(c.tolist() for c in pairs), strict=True)
    )
    after = objective(settings | PLAIN, found.lm, teacher, moved).losses(
        found.lm, None, found.hidden_XH, found.batch
    )
    torch.testing.assert_close(after["teacher_loss"], before["teacher_loss"])


@pytest.mark.parametrize("settings", LOSSES[::2], ids=["p_kl", "h_kl-strict"])
def test_renumbering_the_students_vocabulary_changes_nothing(
    pair, renderer, other_renderer, settings
):
    found, pairs = pair(6), x_token_map(renderer, other_renderer)
    new = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    moved = map_of(
        (new[s].item(), t, w) for s, t, w in zip(*(c.tolist() for c in pairs), strict=True)
    )
    losses = []
    for ours, used in (
        (renderer.vocabulary, pairs),
        (renumbered(renderer.vocabulary, new.tolist()), moved),
    ):
        projection = Projection(used, ours, other_renderer.vocabulary, 300)
        made = XToken(Settings(**settings | PLAIN), projection)
        losses.append(made.losses(found.lm, None, found.hidden_XH, found.batch)["loss"].item())
        head = found.lm.get_output_embeddings().weight
        with torch.no_grad():
            head[new] = head.clone()
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def renumbered(vocabulary, new):
    entries = dict(zip(new, vocabulary.token_bytes, strict=True))
    return Vocabulary(
        tuple(entries[i] for i in range(len(new))),
        *(frozenset(new[i] for i in ids) for ids in (vocabulary.special, vocabulary.end)),
    )


@pytest.mark.parametrize("settings", LOSSES, ids=lambda settings: "-".join(settings.values()))
def test_blocks_cut_no_span(pair, objective, settings, monkeypatch):
    found = pair(6)
    make = objective(settings | PLAIN, found.lm)
    losses, gradients = [], []
    for rows in (512, 3, 1):
        monkeypatch.setattr(x_token, "BLOCK_TOKENS", rows)
        found.hidden_XH.grad = None
        loss = make.losses(found.lm, None, found.hidden_XH, found.batch)["loss"]
        loss.backward()
        losses.append(loss.item())
        gradients.append(found.hidden_XH.grad)
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    assert gradients[0].abs().max() > 0
    for gradient in gradients[1:]:
        torch.testing.assert_close(gradient, gradients[0], rtol=1e-4, atol=1e-5)


def test_balanced_it_is_as_large_as_the_token_cross_entropy_and_points_the_same_way(
    pair, objective
):
    found, gradients = pair(6), {}
    for balanced in (True, False):
        settings = {"balanced": balanced, "kl_weight": 0.5, "token_weight": 2.0}
        found.hidden_XH.grad = None
        parts = objective(settings, found.lm).losses(found.lm, None, found.hidden_XH, found.batch)
        token, teacher = parts["token_loss"].item(), parts["teacher_loss"].item()
        expected = 2 * token + 0.5 * (token if balanced else teacher)
        assert parts["loss"].item() == pytest.approx(expected)
        parts["loss"].backward()
        gradients[balanced] = found.hidden_XH.grad
    found.hidden_XH.grad = None
    parts["token_loss"] = x_token.token_loss(found.lm, found.hidden_XH, found.batch)
    (2 * parts["token_loss"]).backward()
    of_teacher = {b: gradient - found.hidden_XH.grad for b, gradient in gradients.items()}
    torch.testing.assert_close(
        of_teacher[True], of_teacher[False] * token / teacher, rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("settings", LOSSES, ids=lambda settings: "-".join(settings.values()))
def test_without_a_supervised_token_there_is_nothing_to_learn(
    nothing_supervised, objective, settings
):
    found = nothing_supervised
    parts = objective(settings, found.lm).losses(found.lm, None, found.hidden_XH, found.batch)
    parts["loss"].backward()
    assert parts["loss"] == parts["teacher_loss"] == 0
    assert not found.hidden_XH.grad.any()


def test_a_student_that_excludes_what_its_teacher_says_has_a_finite_gradient(pair, objective):
    found = pair(6)
    with torch.no_grad():
        found.hidden_XH *= 1000
    for settings in LOSSES:
        found.hidden_XH.grad = None
        make = objective(settings | PLAIN, found.lm)
        loss = make.losses(found.lm, None, found.hidden_XH, found.batch)["loss"]
        loss.backward()
        assert loss.isfinite() and found.hidden_XH.grad.isfinite().all()


def small(*texts):
    """A vocabulary of these and, behind them, an end token."""
    end = frozenset([len(texts)])
    return Vocabulary((*texts, None), end, end)


def test_relaxed_a_token_is_common_with_its_top_ranked_one():
    student = small(b"ab", b"aa", b"a", b"b", b"xyz", b"xy", b"yy")
    teacher = small(b"a", b"b", b"x", b"y")
    pairs = map_of(
        [
            *((0, 0, 0.9), (0, 1, 0.1), (1, 0, 1.0), (2, 0, 1.0), (3, 1, 1.0), (7, 4, 1.0)),
            *((4, 2, 0.75), (4, 1, 0.25), (5, 2, 0.75), (5, 0, 0.25), (6, 3, 1.0)),
        ]
    )
    projection = Projection(pairs, student, teacher, 9)
    # Outcomes are numbered from the end token on. Of "aa" and "a", "a" gets it; of 4 and 5, 4.
    end, a, b, x, y, none = range(6)
    assert projection.relaxed_V.tolist() == [none, none, a, b, x, none, y, end, none]
    assert projection.strict_V.tolist() == [none, none, a, b, none, none, none, end, none]


# Of the tokens that are not common the student has fewer than the teacher, or more.
@pytest.mark.parametrize("others", [[], [b"ca", b"ab", b"ea"]])
def test_strict_h_kl_is_the_hybrid_loss_of_trl_on_the_same_logits(others):
    from trl.experimental.gold import gold_trainer as gold  # takes seconds

    ours = [b"a", b"b", b"cd", b"e", b"fgh", *others]
    theirs = [b"e", b"c", b"a", b"b", b"d", b"fg", b"h"]
    student, teacher = small(*ours), small(*theirs)
    pieces = {b"cd": (1, 4), b"fgh": (5, 6), b"ca": (1, 2), b"ab": (2, 3), b"ea": (0, 2)}
    rows = [(len(ours), len(theirs), 1.0)]
    for s, text in enumerate(ours):
        if text in theirs:
            rows.append((s, theirs.index(text), 1.0))
        else:
            rows += [(s, t, w) for t, w in zip(pieces[text], (0.9, 0.1), strict=True)]
    pairs, logits = map_of(rows), len(ours) + 1
    projection = Projection(pairs, student, teacher, logits)
    torch.manual_seed(0)
    student_CV = torch.randn(9, logits).softmax(1)
    teacher_CT = torch.randn(9, 8).softmax(1)

    config = SimpleNamespace(
        **dict.fromkeys(("uld_crossentropy_weight", "uld_distillation_weight"), 1.0),
        **dict.fromkeys(("uld_student_temperature", "uld_teacher_temperature"), 1.0),
        **dict.fromkeys(("uld_skip_student_eos", "uld_skip_teacher_eos"), False),
        **dict.fromkeys(("uld_hybrid_matched_weight", "uld_hybrid_unmatched_weight"), 1.0),
        use_extended_uld=True,
        uld_token_merge_strategy="observed",
        uld_use_hybrid_loss=True,
        beta=0.0,
    )
    vocabularies = [
        SimpleNamespace(get_vocab=lambda names=names: {n: i for i, n in enumerate(names)})
        for names in ([*ours, "end"], [*theirs, "end"])
    ]
    expected = gold.ULDLoss(config, *vocabularies)._compute_hybrid_uld_loss(student_CV, teacher_CT)

    probs_CO = torch.zeros_like(teacher_CT).index_add(1, projection.outcome_T[:-1], teacher_CT)
    whole = SpanTargets(probs_CO, torch.zeros(9), torch.ones(9, dtype=torch.bool))
    found = hybrid_kl(whole, student_CV, projection, strict=True).mean()
    torch.testing.assert_close(found, expected)
