from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from bld.models import output_logits
from bld.training.logits import token_loss
from bld.training.objectives.sft import Sft

MODELS = {
    "plain": ("Llama", {"padding": 700}),
    "tied": ("GPT-2", {"padding": 700}),
    "biased": ("Qwen2", {"padding": 700, "biased": True}),
    "capped": ("Gemma 2", {"padding": 700}),
}


def batch_of(tokens, positions=400):
    generator = torch.Generator().manual_seed(0)
    return SimpleNamespace(
        source_S=torch.randperm(positions, generator=generator)[:tokens],
        target_S=torch.randint(1000, (tokens,), generator=generator),
        token_normaliser=7.0,
        from_corpus=lambda column_S: column_S,
    )


def dense(lm, hidden_XH, batch):
    """In float64, all logits at once."""
    logits = output_logits(lm, hidden_XH[batch.source_S])
    return F.cross_entropy(logits, batch.target_S, reduction="sum") / 7


def loss_and_gradients(function, lm, batch, dtype):
    """Of the hidden states and of all parameters of the output head."""
    lm = lm.to(dtype)
    lm.zero_grad()
    generator = torch.Generator().manual_seed(1)
    hidden_XH = torch.randn(400, 16, generator=generator).to(dtype).requires_grad_()
    loss = function(lm, hidden_XH, batch)
    loss.backward()
    return [
        loss.detach(),
        hidden_XH.grad,
        *(p.grad for p in lm.get_output_embeddings().parameters()),
    ]


@pytest.mark.parametrize("tokens", [1, 15, 300])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.03)])
def test_the_token_loss_is_the_dense_cross_entropy(dtype, tolerance, name, tokens, tiny_model):
    family, options = MODELS[name]
    batch = batch_of(tokens)
    by_blocks = partial(token_loss, block_tokens=128)
    lm = tiny_model(family, **options)
    found = loss_and_gradients(by_blocks, lm, batch, getattr(torch, dtype))
    expected = loss_and_gradients(dense, tiny_model(family, **options), batch, torch.float64)
    for mine, theirs in zip(found, expected, strict=True):
        size = float(theirs.abs().max())
        torch.testing.assert_close(mine.double(), theirs, rtol=0, atol=tolerance * size)


def test_sums_over_many_tokens_are_not_taken_in_bf16(tiny_model):
    lm, batch = tiny_model("Llama", padding=700).bfloat16(), batch_of(300)
    batch.source_S, batch.target_S = batch.source_S.repeat(20), batch.target_S.repeat(20)
    hidden_XH = torch.randn(400, 16, generator=torch.Generator().manual_seed(1)).bfloat16()
    with torch.no_grad():
        found = token_loss(lm, hidden_XH, batch)
        expected = dense(lm.double(), hidden_XH.double(), batch)
    assert found.item() == pytest.approx(expected.item(), rel=2e-3)


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_without_supervised_tokens_has_no_loss_and_no_gradient(name, tiny_model):
    family, options = MODELS[name]
    lm = tiny_model(family, **options)
    found = loss_and_gradients(token_loss, lm, batch_of(0), torch.float32)
    assert not any(one.any() for one in found)


@pytest.mark.parametrize("name", MODELS)
def test_logits_never_stand_in_memory_all_at_once(name, tiny_model):
    family, options = MODELS[name]
    lm, tokens = tiny_model(family, **options), 8000
    hidden_XH = torch.randn(tokens, 16, requires_grad=True)
    batch = batch_of(tokens, tokens)
    activities = [ProfilerActivity.CPU]
    with profile(activities=activities, profile_memory=True, record_shapes=True) as record:
        token_loss(lm, hidden_XH, batch, block_tokens=128).backward()
    held = peak = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    assert 0 < peak < 4 * tokens * 1000 / 2


def test_sft_is_the_token_loss_alone(tiny_model):
    lm, batch = tiny_model("Llama", padding=700), batch_of(9)
    hidden_XH = torch.randn(400, 16)
    found = Sft().losses(lm, None, hidden_XH, batch)
    assert found.keys() == {"loss", "token_loss"}
    assert found["loss"] == found["token_loss"] == token_loss(lm, hidden_XH, batch)
