"""The student's own text in place of the documents': what is drawn, what becomes of it, and that a
training on it can be interrupted."""

import dataclasses
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bld.config.settings import Sampling, Training
from bld.documents.conversation import make_conversation
from bld.documents.document import make_document
from bld.symbols import END
from bld.training import on_policy
from bld.training.batches import Batches
from bld.training.checkpoints import Checkpoints
from bld.training.deadline import Deadline
from bld.training.export import trained_weights
from bld.training.heads import LinearHeads, MarginalHead
from bld.training.histories import Histories
from bld.training.loop import train
from bld.training.objectives.bld import Bld
from bld.training.objectives.sft import Sft
from bld.training.on_policy import OnPolicy, OnPolicySampler, whole_characters
from bld.training.packing import step_rows
from bld.training.pieces import is_first, pieces_of
from bld.training.reading import read_packed
from bld.training.trainee import Trainee

SCRIPT = Path(__file__).with_name("toy_on_policy.py")
DISTRIBUTED = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
SETTINGS = Sampling(on_policy=1.0, prompt_bytes=12, completion_tokens=16, temperature=0.7)


class Live:
    """A live teacher: of documents it has never seen it says random things, the same of the
    same."""

    def __init__(self, renderer, random_teacher):
        self.seen = []
        self._renderer, self._random = renderer, random_teacher

    def of(self, documents):
        self.seen += documents
        rendered = [self._renderer.render(d.segments, d.id) for d in documents]
        return self._random(rendered)


class Case:
    """The documents of these tests under a student that goes on by itself."""

    def __init__(self, renderer, documents, rendered, random_teacher):
        self.renderer, self.live = renderer, Live(renderer, random_teacher)
        self.hold(documents, rendered, random_teacher(rendered))

    def hold(self, documents, rendered, teacher):
        self.documents, self.rendered, self.teacher = documents, rendered, teacher
        self.pieces = pieces_of(rendered, 48, 0.5)

    def only(self, document):
        rendered = [self.renderer.render(document.segments, document.id)]
        self.hold([document], rendered, type(self.teacher)(rendered))
        return rendered[0]

    def rows(self, step=0, count=8):
        rows = step_rows(self.pieces, 48, 1, count)
        return [next(rows) for _ in range(step + 1)][-1]

    def batches(self, lm, histories=None, seed=3, **settings):
        sampler = OnPolicySampler(lm, self.renderer, SETTINGS.model_copy(update=settings), seed)
        corpus = Batches(self.rendered, self.teacher, histories)
        return OnPolicy(corpus, self.documents, sampler, self.live)


@pytest.fixture
def case(renderer, documents, rendered, random_teacher):
    return Case(renderer, documents, rendered, random_teacher)


@pytest.fixture
def student(tiny_model, renderer):
    """A model that writes whole characters, like one that has learned anything."""

    def build(family="Llama"):
        lm = tiny_model(family, biased=True)
        for token, spelt in enumerate(renderer.vocabulary.token_bytes):
            if spelt is not None and whole_characters(spelt) != spelt:
                torch.nn.init.constant_(lm.lm_head.bias[token], -1000.0)
        return lm

    return build


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (b"ab", b"ab"),
        ("\u00efb".encode()[:1], b""),
        ("a\U0001f600".encode()[:4], b"a"),
        (b"ab\x80cd", b"ab"),
        (b"", b""),
    ],
)
def test_text_is_cut_to_whole_characters(text, whole):
    assert whole_characters(text) == whole


def first_of(case, pieces):
    return [piece for piece in pieces if is_first(case.rendered[piece.document], piece)]


def all_written(case, lm, **settings):
    """(piece, what stands in for it) of every first piece."""
    sampler = OnPolicySampler(lm, case.renderer, SETTINGS.model_copy(update=settings), 3)
    asked = [(p, case.documents[p.document]) for p in first_of(case, case.pieces)]
    return sampler.write(0, asked)


def test_the_student_goes_on_where_the_prompt_ends(case, student):
    written = {p.document: w for p, w in all_written(case, student()).items()}
    assert written[2] is None  # "key" ends within the prompt
    plain, chat = written[0], written[1]
    assert plain.document.content.startswith(b"Return the i")
    assert len(plain.document.content) > 12
    roles = [segment.role for segment in chat.document.segments]
    assert roles == ["user", "assistant"]
    assert chat.document.segments[0] == case.documents[1].segments[0]
    for one in filter(None, written.values()):
        again = case.renderer.render(one.document.segments, "again")
        assert again.ids_T.tolist() == one.rendered.ids_T.tolist()


def test_the_student_answers_where_the_document_thinks(case, student):
    thinks = {"role": "assistant", "content": "the key", "reasoning_content": "Which one?"}
    document = make_conversation("a", [{"role": "user", "content": "key?"}, thinks])
    rendered = case.renderer.render(document.segments, "a")
    [piece] = pieces_of([rendered], 48, 0.5)
    sampler = OnPolicySampler(student(), case.renderer, SETTINGS, 3)
    [written] = sampler.write(0, [(piece, document)]).values()
    assert [segment.role for segment in written.document.segments] == ["user", "assistant"]


def test_only_what_the_student_wrote_is_supervised(case, student):
    for piece, one in all_written(case, student()).items():
        if one is None:
            continue
        [turn] = one.rendered.turns
        given = 12 if len(one.document.segments) == 1 else 0
        assert one.rendered.symbol_T[one.fresh] >= given
        assert one.fresh == turn.first or one.rendered.symbol_T[one.fresh - 1] < given
        assert one.fresh < one.stop <= piece.stop


def always(lm, token):
    """The model, which now always writes this token."""
    lm.lm_head = torch.nn.Linear(16, 300)
    with torch.no_grad():
        lm.lm_head.weight.zero_()
        lm.lm_head.bias.zero_()
        lm.lm_head.bias[token] = 1000.0
    return lm


def test_an_end_is_supervised_if_the_student_wrote_it(case, student):
    [*ends] = case.renderer.vocabulary.end
    for piece, one in all_written(case, always(student(), ends[0])).items():
        if piece.document != 2:
            assert (one.stop - one.fresh, one.stop) == (1, one.rendered.turns[0].last + 1)
            assert one.rendered.symbols_N[one.rendered.symbol_T[one.fresh]] == END
    token = case.renderer.ids_by_bytes[b"\n"]
    for piece, one in all_written(case, always(student(), token)).items():
        if piece.document != 2:
            assert one.document.content.endswith(b"\n")
            assert one.stop <= one.rendered.turns[0].last


def test_an_end_behind_half_a_character_is_cut_away_with_it(case, student, monkeypatch):
    ids, end = case.renderer.ids_by_bytes, min(case.renderer.vocabulary.end)
    tokens = [ids[b"a"], ids[b"\xf0"], end]
    monkeypatch.setattr(
        on_policy, "generate", lambda lm, vocabulary, prompts, *_: [tokens] * len(prompts)
    )
    written = [one for one in all_written(case, student()).values() if one]
    assert written
    for one in written:
        assert one.document.content.endswith(b"a") and one.stop <= one.rendered.turns[0].last


def test_a_student_that_writes_no_whole_character_leaves_the_document(case, student):
    token = case.renderer.ids_by_bytes[b"\xf0"]
    assert set(all_written(case, always(student(), token)).values()) == {None}


def test_the_share_is_that_of_the_documents_and_a_function_of_seed_step_and_document(
    student, renderer
):
    def chosen(seed, step, share):
        sampler = OnPolicySampler(student(), renderer, Sampling(on_policy=share), seed)
        return [sampler.is_chosen(step, document) for document in range(4000)]

    assert np.mean(chosen(0, 0, 0.3)) == pytest.approx(0.3, abs=0.03)
    assert not any(chosen(0, 0, 0.0)) and all(chosen(0, 0, 1.0))
    assert chosen(5, 7, 0.3) == chosen(5, 7, 0.3)
    assert chosen(5, 7, 0.3) != chosen(5, 8, 0.3) != chosen(6, 8, 0.3)


def test_what_is_drawn_does_not_depend_on_the_share(case, student):
    lm = always(student(), case.renderer.ids_by_bytes[b"a"])
    with torch.no_grad():
        lm.lm_head.bias[case.renderer.ids_by_bytes[b"b"]] = 1000.0
    piece = next(p for p in case.pieces if p.document == 0)
    settings = SETTINGS.model_copy(update={"on_policy": 0.25, "completion_tokens": 1})
    sampler = OnPolicySampler(lm, case.renderer, settings, 3)
    written = [
        sampler.write(step, [(piece, case.documents[0])])[piece].document.content[-1:]
        for step in range(400)
        if sampler.is_chosen(step, 0)
    ]
    assert written.count(b"a") / len(written) == pytest.approx(0.5, abs=0.2)
    assert set(written) == {b"a", b"b"}


def equal_batches(one, other):
    for field in dataclasses.fields(one):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, torch.Tensor) and field.name != "is_student_written_N":
            assert torch.equal(mine, theirs), field.name
    names = ("token_normaliser", "byte_normaliser", "step_tokens")
    assert all(getattr(one, name) == getattr(other, name) for name in names)


def test_with_a_share_of_nothing_batches_are_those_of_the_documents(case, student):
    plain = Batches(case.rendered, case.teacher).step(case.rows(), 2, 0, 1)
    found = case.batches(student(), on_policy=0.0).step(case.rows(), 2, 0, 1, 0)
    for mine, theirs in zip(found, plain, strict=True):
        equal_batches(mine, theirs)
        assert not mine.is_student_written_N.any()


def test_rows_stay_as_long_and_hold_what_was_written(case, student):
    rows = case.rows()
    found = list(case.batches(student()).step(rows, 2, 0, 1, 5))
    written = OnPolicySampler(student(), case.renderer, SETTINGS, 3)
    longest = [max(sum(p.stop - p.start for p in row) for row in rows[i : i + 2]) for i in (0, 2)]
    assert [batch.ids_BT.shape[1] for batch in found[:2]] <= longest
    pieces = first_of(case, (piece for row in rows for piece in row))
    asked = [(p, case.documents[p.document]) for p in pieces]
    expected = written.write(5, asked)
    first = found[0]
    column = 0
    for order, piece in enumerate(rows[0]):
        one = expected.get(piece)
        ids = (
            one.rendered.ids_T[piece.start : one.stop]
            if one
            else case.rendered[piece.document].ids_T[piece.start : piece.stop]
        )
        place = slice(column, column + len(ids))
        assert first.ids_BT[0, place].tolist() == ids.tolist()
        assert (first.piece_BT[0, place] == order).all()
        column += len(ids)
    tokens = sum(len(batch.source_S) for batch in found)
    assert found[0].token_normaliser * len(found) == pytest.approx(tokens)
    assert found[0].step_tokens == tokens
    own = sum(int(batch.is_student_written_N.sum()) for batch in found)
    assert 0 < own < sum(len(batch.symbols_N) for batch in found)  # "key" is given
    assert all("at step 5" in document.id for document in case.live.seen)


def test_what_is_written_does_not_depend_on_what_else_is(case, student):
    piece = next(p for p in case.pieces if p.document == 0)
    sampler = OnPolicySampler(student(), case.renderer, SETTINGS, 3)
    alone = sampler.write(4, [(piece, case.documents[0])])[piece]
    together = sampler.write(4, [(p, case.documents[p.document]) for p in case.pieces[::-1]])[piece]
    assert alone.document == together.document
    assert sampler.write(5, [(piece, case.documents[0])])[piece].document != alone.document


@pytest.mark.parametrize("head", ["linear", "trunk", "prefix"])
def test_on_the_students_own_text_only_the_divergence_counts(case, student, renderer, head):
    lm = student()
    histories = None if head == "linear" else Histories(renderer, 300, head)
    heads = LinearHeads(16, 0) if head == "linear" else MarginalHead()
    whole = Trainee(lm, heads, Bld(1.0, 1.0, 0.5))
    rows = case.rows()
    [batch] = case.batches(lm, histories).step(rows, len(rows), 0, 1, 2)
    found = whole(batch)
    batch.is_student_written_N, is_student_written_N = None, batch.is_student_written_N
    told = whole(batch)
    assert torch.equal(found["kl_loss"], told["kl_loss"])
    # The rest is that of the tokens that are given, all from documents that stayed as they were.
    given_S = ~is_student_written_N[batch.symbol_S]
    only = dataclasses.replace(
        batch, source_S=batch.source_S[given_S], target_S=batch.target_S[given_S]
    )
    alone = Trainee(lm, None, Sft())(only)
    assert 0 < alone["token_loss"] < told["token_loss"]
    torch.testing.assert_close(found["token_loss"], alone["token_loss"], rtol=1e-5, atol=0)
    assert 0 < found["byte_loss"] < told["byte_loss"]
    batch.is_student_written_N = torch.ones_like(is_student_written_N)
    nothing = whole(batch)
    assert nothing["token_loss"] == nothing["byte_loss"] == 0
    torch.testing.assert_close(nothing["loss"], 0.5 * told["kl_loss"])


@pytest.mark.parametrize("histories", ["trunk", "prefix"])
def test_the_bytes_that_were_written_are_summed_as_the_paths_say(
    case, student, renderer, plain_sums, histories
):
    lm = student().double()
    sums = plain_sums(lm, renderer, histories)
    piece = next(p for p in case.pieces if p.document == 0)
    one = OnPolicySampler(lm, renderer, SETTINGS, 3).write(2, [(piece, case.documents[0])])[piece]
    data = case.batches(lm, Histories(renderer, 300, histories))
    [batch] = data.step([[piece]], 1, 0, 1, 2)
    symbol_M, log_probs_MS, _ = MarginalHead()(lm, read_packed(lm, batch), batch)
    stand_in = piece._replace(stop=one.stop, fresh=one.fresh)
    expected = sums.rows(one.rendered, stand_in)
    first = int(one.rendered.symbol_T[one.fresh])
    assert sorted(symbol_M.tolist()) == list(range(len(batch.symbols_N)))
    for symbol, row in zip(symbol_M.tolist(), log_probs_MS.exp(), strict=True):
        torch.testing.assert_close(row.double(), expected[first + symbol], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "how", [{}, {"zero_stage": 2}, {"zero_stage": 1, "precision": "bf16"}], ids=str
)
def test_a_training_on_its_own_text_that_is_resumed_ends_as_one_that_was_not_interrupted(
    toy, case, student, tmp_path, how
):
    settings = Training(
        steps=6,
        sequence_length=48,
        batch_size=4,
        micro_batch_size=2,
        learning_rate=1e-2,
        activation_checkpointing=bool(how),
        **how,
    )

    def attempt(steps_left=-1, folder=None):
        lm = student("GPT-2")  # with dropout
        sampler = OnPolicySampler(
            lm, case.renderer, SETTINGS.model_copy(update={"on_policy": 0.5}), 3
        )
        corpus = Batches(case.rendered, case.teacher)
        data = toy.Mortal(OnPolicy(corpus, case.documents, sampler, case.live), steps_left)
        trainee = Trainee(lm.train(), LinearHeads(16, 0), Bld(kl_weight=1.0))
        checkpoints = folder and Checkpoints(folder, Deadline(0, 0))
        engine, metrics = train(trainee, data, settings, 0, "toy", checkpoints=checkpoints)
        return trained_weights(engine, "lm"), metrics.drop(columns="seconds")

    expected, metrics = attempt()
    texts = [document.content for document in case.live.seen]
    assert len(set(texts)) > len(texts) / 2
    for steps_left in (2, 3):
        with pytest.raises(toy.KilledError):
            attempt(steps_left, tmp_path)
    found, resumed = attempt(folder=tmp_path)
    assert resumed.equals(metrics)
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())


def test_a_document_longer_than_a_row_is_written_anew_once(case, student):
    rendered = case.only(make_document("long", "text", [("text", "Return the index. " * 20)]))
    rows = [[piece] for piece in case.pieces]
    [batch] = case.batches(student()).step(rows, len(rows), 0, 1, 0)
    assert len(case.live.seen) == 1
    for row, piece in enumerate(case.pieces[1:], 1):
        ids = rendered.ids_T[piece.start : piece.stop].tolist()
        assert batch.ids_BT[row, : len(ids)].tolist() == ids


def test_two_processes_agree_with_one_on_what_the_student_writes(tmp_path):
    out = tmp_path / "metrics.parquet"
    launch = ["-m", "bld.pipeline.launch", "--processes", "2", "-m", "toy_on_policy", "--out"]
    environment = {k: v for k, v in os.environ.items() if k not in DISTRIBUTED}
    environment["PYTHONPATH"] = os.pathsep.join([str(SCRIPT.parent), *sys.path])
    subprocess.run([sys.executable, *launch, str(out)], env=environment, check=True)
    _, alone = runpy.run_path(str(SCRIPT))["run"](2)
    found = pd.read_parquet(out)
    for column in ("tokens", "loss", "token_loss", "kl_loss", "grad_norm"):
        assert found[column].tolist() == pytest.approx(alone[column].tolist(), rel=1e-4), column


def test_an_answer_to_a_long_prompt_is_written_from_what_of_it_stands_in_the_row(case, student):
    turns = [("user", "Which index? " * 20), ("assistant", "the first of the keys")]
    case.only(make_document("long", "conversation", turns))
    [piece] = case.pieces
    [batch] = case.batches(student(), on_policy=1.0).step([[piece]], 1, 0, 1, 0)
    [seen] = case.live.seen
    again = case.renderer.render(seen.segments, "again").ids_T[piece.start :].tolist()
    assert piece.start > 0 and batch.ids_BT[0].tolist() == again[: batch.ids_BT.shape[1]]
    assert batch.ids_BT.shape[1] <= 48 and batch.is_student_written_N.all()
