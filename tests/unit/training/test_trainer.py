"""One process, left alone: DeepSpeed takes the steps that plain torch would take."""

import math
from itertools import islice

import pytest
import torch

from bld.config.settings import Training
from bld.symbols import Segment
from bld.training import reading
from bld.training.batches import Batches
from bld.training.engine import build_engine, rate_at
from bld.training.export import trained_weights
from bld.training.heads import LinearHeads
from bld.training.loop import train
from bld.training.objectives.bld import Bld
from bld.training.objectives.sft import Sft
from bld.training.packing import Pieces, step_rows
from bld.training.pieces import pieces_of
from bld.training.trainee import Trainee

SETTINGS = Training(
    steps=5,
    sequence_length=24,
    batch_size=4,
    micro_batch_size=2,
    learning_rate=1e-2,
    warmup_steps=2,
    schedule="cosine",
    weight_decay=0.1,
    gradient_clipping=0.5,
)
RATES = [0.5, 1.0, 1.0, 0.75, 0.25]  # cos 0, cos pi/3 and cos 2 pi/3 after two steps of growth


def plain_loop(trainee, documents, teacher, seed):
    """Five steps of torch's AdamW; the loss and the norm of the gradient of each."""
    named = list(trainee.named_parameters())
    groups = [
        {"params": [p for _, p in named if p.ndim == 2], "weight_decay": 0.1},
        {"params": [p for _, p in named if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    losses, norms = [], []
    pieces = pieces_of(documents, 24, 0.5)
    pieces = Pieces(p for p in pieces if documents[p.document].count_T[p.fresh : p.stop].any())
    for rate, rows in zip(RATES, islice(step_rows(pieces, 24, seed, 4), 5), strict=True):
        loss = sum(trainee(b)["loss"] / 2 for b in Batches(documents, teacher).step(rows, 2, 0, 1))
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(trainee.parameters(), 0.5).item())
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * rate
        optimizer.step()
        losses.append(loss.item())
    return losses, norms


def test_deepspeed_takes_the_steps_of_a_plain_torch_loop(rendered, teacher, tiny_model):
    def new():
        return Trainee(tiny_model().train(), LinearHeads(16, 0), Bld(kl_weight=0.5))

    ours, plain = new(), new()
    _, metrics = train(ours, Batches(rendered, teacher), SETTINGS, 3, "distill")
    losses, norms = plain_loop(plain, rendered, teacher, 3)
    assert metrics["loss"].tolist() == pytest.approx(losses, rel=1e-6)
    assert metrics["grad_norm"].tolist() == pytest.approx(norms, rel=1e-5)
    assert metrics["learning_rate"].tolist() == pytest.approx([1e-2 * rate for rate in RATES])
    assert metrics["step"].tolist() == [0, 1, 2, 3, 4]
    parts = metrics["token_loss"] + metrics["byte_loss"] + 0.5 * metrics["kl_loss"]
    assert parts.tolist() == pytest.approx(losses, rel=1e-5)
    for (name, found), expected in zip(ours.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6, msg=name)


def test_the_same_seed_gives_the_same_weights_bit_for_bit(rendered, tiny_model):
    def weights(seed):
        trainee = Trainee(tiny_model("GPT-2"), None, Sft())  # GPT-2 has dropout
        torch.seed()
        engine, _ = train(trainee, Batches(rendered), SETTINGS, seed, "test")
        return trained_weights(engine, "lm")

    one, two, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_frozen_body_stays_as_it_is_while_its_head_learns(rendered, tiny_model):
    trainee = Trainee(tiny_model(), LinearHeads(16, 0), Bld(kl_weight=0.0, token_weight=0.0))
    trainee.freeze_body()
    before = {name: weight.clone() for name, weight in trainee.state_dict().items()}
    settings = SETTINGS.model_copy(update={"steps": 20})
    _, metrics = train(trainee, Batches(rendered), settings, 0, "warmup")
    for name, weight in trainee.state_dict().items():
        assert torch.equal(weight, before[name]) == name.startswith("lm.")
    assert metrics["byte_loss"].iloc[-1] < metrics["byte_loss"].iloc[0]
    assert metrics["token_loss"].isna().all() and metrics["kl_loss"].isna().all()


def test_the_metrics_count_the_supervised_tokens_of_each_step(rendered, tiny_model):
    settings = SETTINGS.model_copy(update={"steps": 3})
    _, metrics = train(Trainee(tiny_model(), None, Sft()), Batches(rendered), settings, 7, "test")
    pieces = pieces_of(rendered, 24, 0.5)
    pieces = Pieces(p for p in pieces if rendered[p.document].count_T[p.fresh : p.stop].any())
    expected = [
        sum((rendered[p.document].symbol_T[p.fresh : p.stop] >= 0).sum() for r in rows for p in r)
        for rows in islice(step_rows(pieces, 24, 7, 4), 3)
    ]
    assert metrics["tokens"].tolist() == expected


def test_a_loss_that_is_not_finite_ends_the_training_with_the_step(rendered, tiny_model):
    lm = tiny_model()
    with torch.no_grad():
        lm.model.norm.weight[0] = torch.inf
    with pytest.raises(FloatingPointError, match="distill: the loss is nan at step 0; lower the"):
        train(Trainee(lm, None, Sft()), Batches(rendered), SETTINGS, 0, "distill")


def test_a_gradient_that_is_not_finite_ends_the_training_with_the_step(rendered, tiny_model):
    class Steep(Sft):
        def losses(self, lm, head, hidden_XH, batch):
            finite = super().losses(lm, head, hidden_XH, batch)
            root = (
                (hidden_XH * 0).sum().abs().sqrt()
            )  # 0, and so steep there that 0 / 0 is its slope
            return finite | {"loss": finite["loss"] + root}

    with pytest.raises(FloatingPointError, match="norm of the gradient is nan at step 0; lower"):
        trainee = Trainee(tiny_model(), None, Steep())
        train(trainee, Batches(rendered), SETTINGS, 0, "distill")


@pytest.mark.parametrize(
    "how",
    [
        {"zero_stage": 1},
        {"zero_stage": 3},
        {"activation_checkpointing": True},
        {"zero_stage": 1, "offload": "optimizer"},
        {"zero_stage": 3, "offload": "parameters", "activation_checkpointing": True},
    ],
    ids=str,
)
def test_what_saves_memory_changes_no_number(rendered, tiny_model, how):
    def run(**settings):
        trainee = Trainee(tiny_model(), LinearHeads(16, 0), Bld(kl_weight=0.0))
        settings = SETTINGS.model_copy(update=settings)
        return train(trainee, Batches(rendered), settings, 0, "test")[1]

    plain, saving = run(), run(**how)
    for column in ("loss", "grad_norm"):
        assert saving[column].tolist() == pytest.approx(plain[column].tolist(), rel=1e-5)


def test_a_frozen_body_has_no_dropout_while_its_head_is_trained(tiny_model):
    trainee = Trainee(tiny_model("GPT-2"), LinearHeads(16, 0), Bld())
    trainee.freeze_body()
    trainee.train()
    assert trainee.head.training
    assert not any(module.training for module in trainee.lm.modules())


def test_documents_without_a_supervised_token_are_refused(renderer, tiny_model):
    silent = renderer.render([Segment("user", b"Hello?", False)], "silent")
    with pytest.raises(ValueError, match="no supervised token"):
        train(Trainee(tiny_model(), None, Sft()), Batches([silent]), SETTINGS, 0, "test")


@pytest.mark.parametrize(("batch_size", "world_size"), [(3, 1), (6, 2), (2, 2)])
def test_a_batch_that_cannot_be_shared_out_is_refused(tiny_model, batch_size, world_size):
    settings = SETTINGS.model_copy(update={"batch_size": batch_size})
    message = (
        f"batch_size is {batch_size} rows.*{world_size} processes.*multiples of {2 * world_size}"
    )
    with pytest.raises(ValueError, match=message):
        build_engine(Trainee(tiny_model(), None, Sft()), settings, world_size)


def test_rows_longer_than_the_models_context_are_refused(rendered, tiny_model):
    long = SETTINGS.model_copy(update={"sequence_length": 129})
    with pytest.raises(
        ValueError, match="sequence_length is 129, but the model's max_position_emb"
    ):
        train(Trainee(tiny_model(), None, Sft()), Batches(rendered), long, 0, "test")


@pytest.mark.parametrize("family", ["LFM 2", "Mamba 2", "Phi 3.5 and 4 mini (LongRoPE)"])
@pytest.mark.parametrize("how", [{}, {"zero_stage": 3}, {"activation_checkpointing": True}])
def test_a_student_that_cannot_be_packed_is_told_of_and_learns_the_same(
    rendered, tiny_model, capsys, monkeypatch, family, how
):
    plain = SETTINGS.model_copy(update={"sequence_length": 60})

    def run(settings):
        lm = tiny_model(family)
        table = train(Trainee(lm, None, Sft()), Batches(rendered), settings, 0, "test")[1]
        assert f"{type(lm).__name__} does not read a document" in capsys.readouterr().out
        return table

    def one_by_one(lm, lengths, *_):
        return [[index] for index in range(len(lengths))]

    found = run(plain.model_copy(update=how))
    monkeypatch.setattr(reading, "passes_of", one_by_one)
    expected = run(plain)
    for column in ("loss", "grad_norm"):
        assert found[column].tolist() == pytest.approx(expected[column].tolist(), rel=1e-4)


@pytest.mark.parametrize(
    ("schedule", "shape"),
    [
        ("linear", lambda done: 1 - done),
        ("cosine", lambda done: math.cos(math.pi * done / 2) ** 2),
        ("constant", lambda done: 1.0),
    ],
)
def test_the_rate_grows_to_the_peak_and_falls_to_zero_after_the_last_step(schedule, shape):
    settings = Training(steps=50, warmup_steps=10, schedule=schedule)
    rates = [rate_at(step, settings) for step in range(51)]
    assert rates[:10] == pytest.approx([k / 10 for k in range(1, 11)])
    assert rates[10:] == pytest.approx([shape(k / 40) for k in range(41)])


def test_without_warm_up_the_first_step_is_at_the_peak():
    assert rate_at(0, Training(steps=50, warmup_steps=0)) == 1.0
