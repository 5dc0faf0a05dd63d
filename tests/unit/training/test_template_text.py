"""Some templates write a space or a line break between an answer and its end token, and some write
text before an answer that no prompt holds. A student learns to write it, and so to stop."""

import copy

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from bld.cache.top_k import Signal
from bld.config.settings import Sampling, Training
from bld.documents.document import make_document
from bld.evaluation.text import Writer
from bld.symbols import END, Segment
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training import on_policy
from bld.training.batches import Batches
from bld.training.export import save_model, trained_weights
from bld.training.heads import LinearHeads, MarginalHead, OutputHead
from bld.training.histories import Histories
from bld.training.loop import train
from bld.training.objectives.bld import Bld
from bld.training.objectives.sft import Sft
from bld.training.on_policy import OnPolicySampler
from bld.training.packing import Piece
from bld.training.pieces import pieces_of
from bld.training.trainee import Trainee

QUESTIONS = [f"Which key is {word}?" for word in ("first", "last", "the index", "missing")]
ANSWERS = ["The key of the index", "No", "Return it", "Which key?"]
CHATS = [
    make_document(question, "conversation", [("user", question), ("assistant", answer)])
    for question, answer in zip(QUESTIONS, ANSWERS, strict=True)
]
TURNS = [
    ("user", "Which?"),
    ("assistant", "The key"),
    ("user", "And then?"),
    ("assistant", "No"),
]


def renderer_of(kind, closing, opening=""):
    tokenizer = train_tokenizer([*QUESTIONS, *ANSWERS] * 9, kind, 300, "chatml")
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ '[' + m.content + ']' }}{% else %}"
        "{{ '" + opening + "' + m.content + '" + closing + "' + eos_token }}{% endif %}{% endfor %}"
    )
    return Renderer(tokenizer, prompt="served"), tokenizer


@pytest.mark.parametrize("kind", ["byte_level_bpe", "sentencepiece_bpe", "bytes"])
@pytest.mark.parametrize("closing", ["", " ", "\\n", " so be it\\n"])
def test_what_ends_a_turn_is_trained_on_and_only_what_follows_the_content_is_compared(
    kind, closing
):
    renderer, tokenizer = renderer_of(kind, closing)
    segments = [Segment(role, text.encode(), role == "assistant") for role, text in TURNS]
    found = renderer.render(segments, "it")
    spelt = renderer.vocabulary.token_bytes
    for turn, text in zip(found.turns, (b"The key", b"No"), strict=True):
        assert b"".join(spelt[i] for i in found.ids_T[turn.first : turn.last]) == text
        assert found.ids_T[turn.end] == tokenizer.eos_token_id
        before = b"".join(spelt[i] for i in found.ids_T[turn.last : turn.end])
        assert before == closing.replace("\\n", "\n").encode()
        ending = slice(turn.last, turn.end + 1)
        assert set(found.symbols_N[found.symbol_T[ending]]) == {END}
        assert found.count_T[ending].tolist() == ([0] * (turn.end - turn.last) + [closing == ""])
        assert turn.ends == (closing == "")
    assert found.count_T.sum() == len(b"The keyNo") + 2 * (closing == "")
    assert any("ends are not compared" in note for note in renderer.notes) == (closing != "")


def teacher_of(rendered):
    """Certain of every byte, and of END."""

    class Certain:
        def read(self, documents):
            return [
                Signal(
                    rendered[i].symbols_N.astype(np.int64)[:, None],
                    np.zeros((len(rendered[i].symbols_N), 1), np.float32),
                    np.full(len(rendered[i].symbols_N), -np.inf, np.float32),
                )
                for i in documents
            ]

    return Certain()


def marginal(renderer, lm, kind):
    logits = len(lm.get_output_embeddings().weight)
    return MarginalHead(), Histories(renderer, logits, kind)


METHODS = {
    "sft": lambda renderer, lm: (Sft(), None, None),
    "linear": lambda renderer, lm: (Bld(kl_weight=1.0), LinearHeads(16, 0), None),
    "trunk": lambda renderer, lm: (Bld(kl_weight=1.0), *marginal(renderer, lm, "trunk")),
    "prefix": lambda renderer, lm: (Bld(kl_weight=1.0), *marginal(renderer, lm, "prefix")),
    "output": lambda renderer, lm: (
        Bld(byte_weight=0.0, kl_weight=1.0),
        OutputHead(lm, renderer.vocabulary),
        None,
    ),
}


@pytest.mark.parametrize("method", METHODS)
def test_the_cross_entropy_holds_what_begins_and_ends_a_turn_wherever_rows_are_cut(
    method, tiny_model
):
    kind = "bytes" if method == "output" else "byte_level_bpe"
    renderer, _ = renderer_of(kind, " so be it\\n", opening="so, ")
    lm = tiny_model()
    rendered = [renderer.render(chat.segments, chat.id) for chat in CHATS]
    objective, head, histories = METHODS[method](renderer, lm)
    batches = Batches(rendered, teacher_of(rendered), histories)
    for length in (7, 12, 64):
        pieces = pieces_of(rendered, length, 0.5)
        rows = [pieces[i : i + 3] for i in range(0, len(pieces), 3)]
        batch = batches.collate(rows, 1.0, 1.0)
        found = Trainee(lm, head, objective)(batch)["token_loss" if head else "loss"]
        assert found.item() == pytest.approx(_cost(lm, rendered, pieces), rel=1e-5)


def _cost(lm, rendered, pieces: list[Piece]) -> float:
    """What the model pays for answers with all that begins and ends them, piece by piece."""
    cost = 0.0
    for number, start, stop, fresh, _ in pieces:
        ids, [turn] = rendered[number].ids_T.astype(np.int64), rendered[number].turns
        with torch.no_grad():
            log_probs = lm(torch.from_numpy(ids[start:stop])[None]).logits[0].log_softmax(-1)
        for place in range(max(fresh, turn.opens), min(stop, turn.end + 1)):
            cost -= float(log_probs[place - start - 1, ids[place]])
    return cost


@pytest.mark.parametrize("method", METHODS)
def test_a_student_with_such_a_template_stops_when_it_is_served(method, tiny_model, tmp_path):
    kind = "bytes" if method == "output" else "byte_level_bpe"
    renderer, tokenizer = renderer_of(kind, " ", opening="so, ")
    lm = tiny_model().train()
    rendered = [renderer.render(chat.segments, chat.id) for chat in CHATS]
    objective, head, histories = METHODS[method](renderer, lm)
    settings = Training(
        steps=160, sequence_length=64, batch_size=4, micro_batch_size=4, learning_rate=1e-2
    )
    data = Batches(rendered, teacher_of(rendered), histories)
    engine, _ = train(Trainee(lm, head, objective), data, settings, 0, "test")
    tokenizer.save_pretrained(tmp_path / "student")
    folder, ends = tmp_path / "model", renderer.vocabulary.end
    save_model(lm, trained_weights(engine, "lm"), tmp_path / "student", folder, ends)
    served = AutoModelForCausalLM.from_pretrained(folder)
    for question, document, answer in zip(QUESTIONS, rendered, ANSWERS, strict=True):
        [turn] = document.turns
        ids = torch.from_numpy(document.ids_T.astype(np.int64))[None]
        written = served.generate(ids[:, : turn.opens], max_new_tokens=60)[0, turn.opens :]
        assert tokenizer.decode(written) == "so, " + answer + " " + tokenizer.eos_token
        with torch.no_grad():
            probs = served(ids).logits[0].softmax(-1)
        assert probs[turn.last - 1, ids[0, turn.last]] > 0.9
        assert probs[turn.end - 1, ids[0, turn.end]] > 0.9
        text = Writer(renderer, copy.deepcopy(served), chats=True).complete(question, 60)
        assert text["completion"] == "so, " + answer + " " and text["ended"]


def test_what_a_student_writes_before_its_end_is_none_of_its_text(tiny_model, monkeypatch):
    renderer, tokenizer = renderer_of("byte_level_bpe", " ")
    ids = renderer.ids_by_bytes
    tokens = [ids[b"N"], ids[b"o"], ids[b" "], tokenizer.eos_token_id]
    monkeypatch.setattr(on_policy, "generate", lambda lm, vocabulary, prompts, *_: [tokens])
    sampler = OnPolicySampler(tiny_model(), renderer, Sampling(on_policy=1.0), 0)
    piece = Piece(0, 0, 64, 1)
    written = sampler.write(0, [(piece, CHATS[0])])[piece]
    assert written.document.content == QUESTIONS[0].encode() + b"No"
    assert written.stop == written.rendered.turns[0].last
