"""Whole training steps against a dense and obvious Eq. 5 in float64, one byte at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from bld.config.settings import BldSettings
from bld.documents.document import make_document
from bld.models import hidden_states, output_logits
from bld.symbols import END, MIN_PROBABILITY, SPECIAL, SYMBOLS
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training.batches import Batches
from bld.training.heads import CausalHeads, LinearHeads, MarginalHead, OutputHead
from bld.training.histories import Histories
from bld.training.objective import ObjectiveContext
from bld.training.objectives.bld import Bld, build
from bld.training.pieces import pieces_of
from bld.training.trainee import Trainee

BYTE_TOKENIZER = train_tokenizer([], "bytes", 0, "chatml")
CASES = {
    "linear": ("Llama", {}),
    "linear, GPT-2": ("GPT-2", {}),
    "linear, capped": ("Gemma 2", {}),
    "causal": ("Llama", {}),
    "trunk": ("Llama", {}),
    "trunk, capped and padded": ("Gemma 2", {"padding": 5}),
    "prefix": ("Llama", {}),
    "prefix, tied": ("GPT-2", {}),
    "prefix, capped": ("Gemma 2", {}),
    "prefix, padded and biased": ("Qwen2", {"padding": 5, "biased": True}),
    "output": ("Llama", {}),
}
OBJECTIVES = {
    "Eq. 5": Bld(kl_weight=0.5),
    "mean over bytes": Bld(token_weight=0.5, byte_weight=2.0, kl_weight=1.0, reduction="byte"),
    "masked": Bld(kl_weight=0.5, mask_end=True, mask_whitespace=True),
    "of bytes alone": Bld(token_weight=0.0, byte_weight=0.0, kl_weight=1.0),
}


class Step:
    """A student, its head, and documents in whole rows; and the same in float64."""

    def __init__(self, case, renderer, documents, tiny_model, teacher_of, plain_sums):
        self.kind = case.split(",")[0]
        family, options = CASES[case]
        if self.kind == "output":
            renderer = Renderer(BYTE_TOKENIZER)
            self.students = [byte_student(), byte_student().double()]
        else:
            self.students = [tiny_model(family, **options), tiny_model(family, **options).double()]
        self.rendered = [renderer.render(d.segments, d.id) for d in documents]
        self.teacher = teacher_of(self.rendered)
        self.vocabulary = renderer.vocabulary
        self.pieces = pieces_of(self.rendered, 1000, 0.5)
        histories = None
        if self.kind in ("trunk", "prefix"):
            logits = len(self.students[0].get_output_embeddings().weight)
            histories = Histories(renderer, logits, self.kind)
            self.plain = plain_sums(self.students[1], renderer, self.kind)
        self.data = Batches(self.rendered, self.teacher, histories)
        self.heads = [self.head(student) for student in self.students]
        self.heads[1].double()

    def head(self, lm):
        trained = {"linear": LinearHeads, "causal": CausalHeads}
        if self.kind in trained:
            return trained[self.kind](16, 0)
        return OutputHead(lm, self.vocabulary) if self.kind == "output" else MarginalHead()

    def trained(self, objective):
        """Losses and gradients of one micro batch of two rows."""
        trainee = Trainee(self.students[0], self.heads[0], objective)
        rows = [self.pieces[:2], self.pieces[2:]]
        (batch,) = self.data.step(rows, 2, 0, 1)
        return finished(trainee, trainee(batch))

    def by_hand(self, objective):
        """The same, token by token and byte by byte."""
        parts = {"token_loss": [], "byte_loss": [], "kl_loss": []}
        tokens = symbols = 0
        for number, document in enumerate(self.rendered):
            said = self.distributions(number, document)
            kept = self.teacher.read([number])[0][:3]
            for token in np.flatnonzero(document.symbol_T >= 0):
                first, count = document.symbol_T[token], document.count_T[token]
                tokens, symbols = tokens + 1, symbols + count
                parts["token_loss"].append(-self.log_probs[token - 1, document.ids_T[token]])
                spelt = document.symbols_N[first : first + count]
                if (
                    objective.mask_whitespace
                    and END not in spelt
                    and not bytes(spelt.tolist()).strip()
                ):
                    continue
                for n in range(first, first + count):
                    if n in said and not (objective.mask_end and document.symbols_N[n] == END):
                        parts["byte_loss"].append(-said[n][int(document.symbols_N[n])].log())
                        parts["kl_loss"].append(
                            divergence(*(column[n] for column in kept), said[n])
                        )
        shares = {"token_loss": tokens}
        over = tokens if objective.reduction == "token" else symbols
        losses = {name: sum(p) / shares.get(name, over) for name, p in parts.items()}
        weights = objective.token_weight, objective.byte_weight, objective.kl_weight
        losses = {
            name: loss
            for (name, loss), weight in zip(losses.items(), weights, strict=True)
            if weight
        }
        weight_of = dict(zip(parts, weights, strict=True))
        losses["loss"] = sum(weight_of[name] * loss for name, loss in losses.items())
        return finished(Trainee(self.students[1], self.heads[1], objective), losses)

    def distributions(self, number, document):
        """symbol -> what the head says of it [260]."""
        lm, head = self.students[1], self.heads[1]
        ids = torch.from_numpy(document.ids_T.astype(np.int64))[None]
        hidden_TH = hidden_states(lm, ids)[0]
        self.log_probs = output_logits(lm, hidden_TH).log_softmax(-1)
        if self.kind in ("trunk", "prefix"):
            return self.plain.rows(document, self.pieces[number])
        said = {}
        for token in np.flatnonzero(document.symbol_T >= 0):
            first = int(document.symbol_T[token])
            for j in range(min(int(document.count_T[token]), 10)):
                before = document.symbols_N[first : first + j].tolist()
                said[first + j] = self.byte(lm, head, hidden_TH[token - 1], before)
        return said

    def byte(self, lm, head, hidden_H, before):
        """What a head says after the bytes of the token that are known."""
        if self.kind == "linear":
            rows = slice(SYMBOLS * len(before), SYMBOLS * (len(before) + 1))
            return (head.weight[rows] @ hidden_H + head.bias[rows]).softmax(0)
        if self.kind == "causal":
            inner = head.enter(hidden_H) + head.place.weight[len(before)]
            for i, byte in enumerate(before):
                inner = inner + head.spelt.weight[SYMBOLS * i + byte]
            return head.leave(torch.nn.functional.gelu(inner)).softmax(0)
        probs = output_logits(lm, hidden_H).softmax(0)
        others = [i for i in range(256, len(probs)) if i not in self.vocabulary.end]
        end = probs[sorted(self.vocabulary.end)].sum()
        nothing = torch.zeros(2, dtype=probs.dtype)
        assert (END, SPECIAL) == (256, 257)
        return torch.cat([probs[:256], end[None], probs[others].sum()[None], nothing])


def divergence(symbols, log_probs, log_tail, student):
    used = log_probs > -np.inf
    teacher = np.exp(log_probs[used].astype(np.float64))
    # The trunk cannot spell every byte that the teacher may.
    total = sum(
        p * (np.log(p) - student[s].log())
        for p, s in zip(teacher, symbols[used], strict=True)
        if student[s] > MIN_PROBABILITY
    )
    rest = student[[s for s in range(SYMBOLS) if s not in symbols[used]]].sum()
    tail = np.exp(float(log_tail))
    return total + (
        tail * (float(log_tail) - rest.log()) if rest > SYMBOLS * MIN_PROBABILITY else 0.0
    )


def finished(trainee, losses):
    losses["loss"].backward()
    return {n: loss.item() for n, loss in losses.items()}, {
        n: p.grad for n, p in trainee.named_parameters() if p.grad is not None
    }


def byte_student():
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 24}
    size = {"num_attention_heads": 2, "vocab_size": len(BYTE_TOKENIZER) + 3}
    lm = LlamaForCausalLM(LlamaConfig(**shape, **size, max_position_embeddings=128)).eval()
    with torch.no_grad():
        for table in lm.parameters():
            table.mul_(5 if table.ndim > 1 else 1)
    return lm


@pytest.fixture
def step(renderer, documents, tiny_model, random_teacher, plain_sums):
    # A word longer than the heads are many, and tokens of whitespace alone.
    more = make_document("blank", "text", [("text", "if x:\n        return\n\n\n")])
    some = [*documents[1:4], more]
    return lambda case: Step(case, renderer, some, tiny_model, random_teacher, plain_sums)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_and_gradients_of_a_step_are_those_of_equation_5_by_hand(case, name, step):
    objective, made = OBJECTIVES[name], step(case)
    losses, gradients = made.trained(objective)
    expected, dense = made.by_hand(objective)
    assert losses == pytest.approx(expected, rel=1e-4)
    assert gradients.keys() == dense.keys()
    for parameter, gradient in dense.items():
        size = float(gradient.abs().max())
        torch.testing.assert_close(
            gradients[parameter].double(), gradient, rtol=1e-3, atol=2e-4 * size, msg=parameter
        )


@pytest.mark.parametrize("case", CASES)
def test_a_batch_without_supervised_tokens_costs_nothing_and_moves_nothing(case, step):
    made = step(case)
    made.rendered[:] = [
        replace(d, symbol_T=-np.ones_like(d.symbol_T), count_T=0 * d.count_T, turns=())
        for d in made.rendered
    ]
    losses, gradients = made.trained(Bld(kl_weight=0.5))
    assert set(losses.values()) == {0.0} and len(losses) == 4
    assert (
        gradients.keys()
        == dict(Trainee(made.students[0], made.heads[0], None).named_parameters()).keys()
    )
    assert not any(gradient.any() for gradient in gradients.values())


def test_of_a_byte_student_the_cross_entropy_counts_once(step):
    of_bytes = step("output")
    context = ObjectiveContext(of_bytes.students[0], Renderer(BYTE_TOKENIZER))
    losses = {}
    for weights in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0)):
        settings = BldSettings(head="output", token_weight=weights[0], byte_weight=weights[1])
        objective, *_ = build(settings.model_dump(), context)
        losses[weights] = of_bytes.trained(objective)[0]["loss"]
    assert losses[1.0, 1.0] == losses[1.0, 0.0] == pytest.approx(losses[0.0, 1.0], rel=1e-5)
