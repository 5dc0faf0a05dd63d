"""SimCT against its formulas, one unit after the other, and the laws that it has to keep."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bld.cache.top_k import Signal
from bld.config.methods.simct import SimCtSettings as Settings
from bld.documents.document import make_document
from bld.models import hidden_states
from bld.scoring.token_scores import TokenScores
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training.alignment import Outcomes
from bld.training.batches import Batches
from bld.training.objectives.simct import SimCt
from bld.training.packing import Piece, supervised_symbols
from bld.training.pieces import pieces_of

OTHER_TEXTS = ["bys cys dys fys gys hys mys", "Where is the key? Return its index or raise."] * 9
KEYS = make_document("keys", "text", [("text", "keys in items")])


@pytest.fixture(scope="module")
def other():
    """A renderer that cuts the same documents otherwise."""
    return Renderer(train_tokenizer(OTHER_TEXTS, "byte_level_bpe", 300, "turns"))


class LetterByLetter:
    """A renderer that spells every other token of several bytes by bytes."""

    def __init__(self, renderer):
        self.renderer, self.vocabulary = renderer, renderer.vocabulary

    def render(self, segments, name):
        found = self.renderer.render(segments, name)
        columns = found.ids_T, found.span_T2, found.symbol_T, found.count_T
        rows = []
        for at, (token, (start, stop), symbol, count) in enumerate(zip(*columns, strict=True)):
            if at % 2 or symbol < 0 or count == 1:
                rows.append((token, (start, stop), symbol, count))
                continue
            for k, byte in enumerate(self.vocabulary.token_bytes[token]):
                token_id = self.vocabulary.token_bytes.index(bytes([byte]))
                rows.append((token_id, (start + k, start + k + 1), symbol + k, 1))
        ids_T, span_T2, symbol_T, count_T = (np.array(x, np.int32) for x in zip(*rows, strict=True))
        return replace(found, ids_T=ids_T, span_T2=span_T2, symbol_T=symbol_T, count_T=count_T)


class TokenTeacher:
    """What a model says at the supervised tokens of its own encoding; `keep` of them."""

    def __init__(self, lm, renderer, documents, keep):
        self.vocabulary = renderer.vocabulary
        self.rendered = [renderer.render(d.segments, d.id) for d in documents]
        known = [
            t is not None or i in self.vocabulary.special
            for i, t in enumerate(self.vocabulary.token_bytes)
        ]
        self.log_probs = []  # [T, W] of each document: of the token at that place, given all before
        for document in self.rendered:
            with torch.no_grad():
                logits = lm(torch.from_numpy(document.ids_T.astype(np.int64))[None]).logits[0]
            logits = logits[:, : len(known)].double().numpy()
            logits[:, ~np.array(known)] = -np.inf
            logits -= np.log(np.exp(logits).sum(1, keepdims=True))
            self.log_probs.append(np.roll(logits, 1, axis=0))
        self.keep = min(keep, len(known))

    def read(self, documents):
        return [self._of(number) for number in documents]

    def _of(self, number):
        document, log_probs = self.rendered[number], self.log_probs[number]
        token_U = np.flatnonzero(document.symbol_T >= 0)
        ids_U = document.ids_T[token_U]
        order = np.argsort(-log_probs[token_U], axis=1)
        kept = np.take_along_axis(log_probs[token_U], order[:, : self.keep], 1)
        with np.errstate(divide="ignore"):
            rest = np.take_along_axis(log_probs[token_U], order[:, self.keep :], 1)
            tail = np.log(np.exp(rest).sum(1))
        size = len(document.symbols_N)
        return Signal(
            np.zeros((size, 0), np.int64),
            np.zeros((size, 0), np.float32),
            np.full(size, -np.inf, np.float32),
            TokenScores(
                document.symbol_T[token_U],
                document.count_T[token_U],
                ids_U,
                log_probs[token_U, ids_U],
                np.where(np.isfinite(kept), order[:, : self.keep], -1),
                kept,
                tail,
            ),
        )


class Scene:
    """A student and a teacher at the same documents."""

    def __init__(self, lm, renderer, teacher, documents, row_length=128):
        self.lm, self.renderer, self.teacher = lm, renderer, teacher
        self.rendered = [renderer.render(d.segments, d.id) for d in documents]
        self.pieces = pieces_of(self.rendered, row_length, 0.5)
        rows = [[piece] for piece in self.pieces]
        self.batch = Batches(self.rendered, teacher).collate(rows, 7.0, 1.0)
        with torch.no_grad():
            batch = self.batch
            self.hidden_BTH = hidden_states(lm, batch.ids_BT, batch.masks(lm), batch.positions_BT)

    def outcomes(self, student=None, teacher=None):
        student = student or self.renderer.vocabulary
        return Outcomes(student, 300, teacher or self.teacher.vocabulary)

    def losses(self, outcomes=None, hidden_BTH=None, **settings):
        objective = SimCt(Settings(**settings), outcomes or self.outcomes())
        hidden = self.hidden_BTH if hidden_BTH is None else hidden_BTH
        return objective.losses(self.lm, None, hidden.flatten(0, 1), self.batch)

    def loss_and_slope(self, function):
        """Of the hidden states."""
        hidden_BTH = self.hidden_BTH.clone().requires_grad_()
        loss = function(hidden_BTH)
        loss.backward()
        return loss.detach(), hidden_BTH.grad


@pytest.fixture
def scene(renderer, other, documents, tiny_model):
    def build(keep, row_length=128):
        texts = [*documents, KEYS]
        teacher = TokenTeacher(tiny_model("Qwen2"), other, texts, keep)
        return Scene(tiny_model(), renderer, teacher, texts, row_length)

    return build


def spelt(vocabulary, token):
    if token in vocabulary.end:
        return "end"
    return vocabulary.token_bytes[token] if token < len(vocabulary) else None


def by_start(document, first, last):
    """(token, count) of the supervised tokens that lie in these symbols, by the symbol where they
    start."""
    places = [int(t) for t in np.flatnonzero(document.symbol_T >= 0)]
    spans = {int(document.symbol_T[t]): (t, int(document.count_T[t])) for t in places}
    return {n: (t, c) for n, (t, c) in spans.items() if first <= n and n + c <= last}


def units_of(mine, theirs):
    """(tokens of mine, tokens of theirs) of every shortest span that both have boundaries around:
    whoever is behind takes a token, until they are level."""
    for start in sorted(set(mine) & set(theirs)):
        sides, ends = ([], []), [start, start]
        while not all(sides) or ends[0] != ends[1]:
            behind = int(ends[1] < ends[0] or (ends[0] == ends[1] and bool(sides[0])))
            if ends[behind] not in (mine, theirs)[behind]:
                break
            token, count = (mine, theirs)[behind][ends[behind]]
            sides[behind].append(token)
            ends[behind] += count
        else:
            yield sides


def simct_one_unit_at_a_time(scene, keep, hidden_BTH):
    """Eq. 7 to 9, in float64; the loss, and how many tokens each side has of each unit."""
    logits = scene.lm.lm_head.double()(hidden_BTH.double())
    total, shapes = 0.0, []
    mine, theirs = scene.renderer.vocabulary, scene.teacher.vocabulary
    shared = {spelt(mine, i) for i in range(300)} & {spelt(theirs, i) for i in range(len(theirs))}
    ids_of = {name: [i for i in range(300) if spelt(mine, i) == name] for name in shared - {None}}
    for piece, logits_TV in zip(scene.pieces, logits, strict=True):
        document, said = scene.rendered[piece.document], logits_TV.log_softmax(-1)
        probs = said.exp()
        known = scene.teacher.log_probs[piece.document]
        other = scene.teacher.rendered[piece.document]
        symbols = supervised_symbols(document, piece)
        for own, foreign in units_of(by_start(document, *symbols), by_start(other, *symbols)):
            own = [t - piece.start for t in own]
            shapes.append((len(own), len(foreign)))
            row = known[foreign[0]]
            kept = np.argsort(-row)[:keep]
            p = {}
            for i in kept:
                if spelt(theirs, i) in ids_of:
                    p[spelt(theirs, i)] = p.get(spelt(theirs, i), 0) + np.exp(row[i])
            again = None
            if len(own) == 1 < len(foreign):
                again = spelt(mine, int(document.ids_T[piece.start + own[0]]))
            elif len(foreign) == 1 < len(own):
                again = spelt(theirs, int(other.ids_T[foreign[0]]))
            p.pop(again, None)
            q = {name: probs[own[0] - 1, ids_of[name]].sum() for name in p}
            beyond = ids_of.keys() - p.keys() - {again}
            tail = [i for name in beyond for i in ids_of[name]]
            if keep < len(theirs):
                p["tail"], q["tail"] = 1 - np.exp(row[kept]).sum(), probs[own[0] - 1, tail].sum()
            if (len(own), len(foreign)) != (1, 1):
                ids = document.ids_T[piece.start :]
                q["unit"] = torch.stack([said[t - 1, ids[t]] for t in own]).mean().exp()
                p["unit"] = np.exp(np.mean([known[t, other.ids_T[t]] for t in foreign]))
            p_sum, q_sum = sum(p.values()), sum(q.values())
            for name, mass in q.items():
                total = total + mass / q_sum * ((mass / q_sum).log() - np.log(p[name] / p_sum))
    return total / scene.batch.token_normaliser, shapes


@pytest.mark.parametrize(("keep", "row_length"), [(3, 128), (20, 24), (300, 128)])
def test_simct_is_its_formulas_one_unit_at_a_time(scene, keep, row_length):
    case = scene(keep, row_length)
    _, shapes = simct_one_unit_at_a_time(case, keep, case.hidden_BTH)
    assert {(1, 1), (1, 2), (2, 1)} < set(shapes) and max(map(min, shapes)) > 1
    case = scene(keep, row_length)
    loss, slope = case.loss_and_slope(lambda h: case.losses(hidden_BTH=h)["loss"])
    expected, expected_slope = case.loss_and_slope(
        lambda h: simct_one_unit_at_a_time(case, keep, h)[0]
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    size = float(expected_slope.abs().max())
    torch.testing.assert_close(slope, expected_slope, rtol=0, atol=1e-5 * size)


@pytest.mark.parametrize("student_spells", [True, False])
@pytest.mark.parametrize("keep", [3, 300])
def test_a_shared_token_that_one_of_them_spells_otherwise_is_one_candidate(
    renderer, documents, tiny_model, keep, student_spells
):
    renderers = LetterByLetter(renderer), renderer
    mine, theirs = renderers if student_spells else renderers[::-1]
    teacher = TokenTeacher(tiny_model("Qwen2"), theirs, documents, keep)
    case = Scene(tiny_model(), mine, teacher, documents)
    expected, shapes = simct_one_unit_at_a_time(case, keep, case.hidden_BTH)
    assert any(1 == min(shape) < max(shape) for shape in shapes)
    case = Scene(tiny_model(), mine, teacher, documents)
    assert case.losses()["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_where_all_tokens_are_shared_fewer_candidates_never_diverge_more(
    renderer, documents, tiny_model
):
    def divergence(keep):
        teacher = TokenTeacher(tiny_model("Qwen2"), renderer, documents, keep)
        case = Scene(tiny_model(), renderer, teacher, documents)
        return case.losses(all_shared(case))["teacher_loss"].item()

    found = [divergence(keep) for keep in (1, 4, 16, 300)]
    assert found == sorted(found) and found[0] < found[-1]


def all_shared(case):
    """Outcomes of two equal vocabularies whose every special token counts as an end."""
    vocabulary = case.renderer.vocabulary
    ends = replace(vocabulary, end=vocabulary.special)
    return case.outcomes(ends, ends)


@pytest.mark.parametrize("keep", [3, 300])
def test_a_student_equal_to_its_teacher_has_no_divergence_and_no_slope(
    renderer, documents, tiny_model, keep
):
    case = Scene(
        tiny_model(), renderer, TokenTeacher(tiny_model(), renderer, documents, keep), documents
    )
    loss, slope = case.loss_and_slope(lambda h: case.losses(all_shared(case), h)["loss"])
    assert loss.item() == pytest.approx(0, abs=1e-5)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-5, rtol=0)


def test_with_equal_tokenizers_units_are_tokens_and_the_loss_is_the_reverse_divergence(
    renderer, documents, tiny_model
):
    teacher = TokenTeacher(tiny_model("Qwen2"), renderer, documents, 300)
    case = Scene(tiny_model(), renderer, teacher, documents)
    vocabulary = renderer.vocabulary
    words = [i for i, text in enumerate(vocabulary.token_bytes) if text]
    ends = sorted(vocabulary.end)
    total = 0.0
    for number, document in enumerate(case.rendered):
        with torch.no_grad():
            said = case.lm.lm_head(case.hidden_BTH[number]).double().softmax(-1).numpy()
        for t in np.flatnonzero(document.symbol_T >= 0):
            both = said[t - 1], np.exp(teacher.log_probs[number][t])
            q, p = (np.append(x[words], x[ends].sum()) for x in both)
            q, p = q / q.sum(), p / p.sum()
            total += (q * np.log(q / p)).sum()
    assert case.losses()["loss"].item() == pytest.approx(total / 7, rel=1e-5)


def test_the_order_of_the_teachers_vocabulary_changes_nothing(scene):
    case = scene(20)
    plain = case.losses()["loss"]
    vocabulary, tokens = case.teacher.vocabulary, case.batch.teacher_tokens
    old = np.random.default_rng(0).permutation(len(vocabulary))
    new = torch.from_numpy(np.argsort(old))
    permuted = replace(
        vocabulary,
        token_bytes=tuple(vocabulary.token_bytes[i] for i in old),
        special=frozenset(int(new[i]) for i in vocabulary.special),
        end=frozenset(int(new[i]) for i in vocabulary.end),
    )
    case.batch.teacher_tokens = tokens._replace(
        token_U=new[tokens.token_U], ids_UK=new[tokens.ids_UK]
    )
    found = case.losses(case.outcomes(teacher=permuted))["loss"]
    torch.testing.assert_close(found, plain, rtol=1e-6, atol=0)


def test_the_weights_are_those_of_the_sum(scene):
    case = scene(20)
    alone = case.losses(kl_weight=0.5)
    both = case.losses(kl_weight=0.5, token_weight=2.0)
    assert alone.keys() == {"loss", "teacher_loss"}
    torch.testing.assert_close(alone["loss"], 0.5 * both["teacher_loss"])
    torch.testing.assert_close(both["loss"], alone["loss"] + 2 * both["token_loss"])


def test_a_batch_without_supervised_tokens_costs_nothing(scene):
    case = scene(20)
    silent = replace(case.rendered[0], symbol_T=np.full_like(case.rendered[0].symbol_T, -1))
    rows = [[Piece(0, 0, len(silent), 1)]]
    case.batch = Batches([silent], case.teacher).collate(rows, 7.0, 1.0)
    loss, slope = case.loss_and_slope(lambda h: case.losses(hidden_BTH=h)["loss"])
    assert loss == 0 and not slope.any()
