"""Tokens that are drawn together against tokens drawn one by one."""

import numpy as np
import pytest
import torch

from bld.training.generation import generate


def drawn_by_hand(lm, vocabulary, prompt, random, temperature):
    """A pass over everything for each token; the first token, by its number, up to which the
    probabilities exceed the random number."""
    ids = list(prompt)
    can_be = [
        i for i, t in enumerate(vocabulary.token_bytes) if t is not None or i in vocabulary.end
    ]
    for number in random:
        with torch.no_grad():
            logits = lm(torch.tensor([ids])).logits[0, -1].double() / temperature
        probs = logits[can_be].softmax(0).numpy()
        token = can_be[int(np.flatnonzero(np.cumsum(probs) > number)[0])]
        ids.append(token)
        if token in vocabulary.end:
            break
    return ids[len(prompt) :]


@pytest.mark.parametrize(
    "family", ["Llama", "GPT-NeoX", "GPT-2", "Qwen2", "Gemma 2", "LFM 2", "Mamba", "Mamba 2"]
)
def test_what_is_drawn_together_is_what_each_would_draw_alone(family, tiny_model, renderer):
    lm = tiny_model(family).train()
    random = np.random.default_rng(0)
    prompts = [random.integers(260, 290, size).tolist() for size in (1, 9, 4, 7)]
    numbers = [random.random(size) for size in (12, 3, 20, 1)]
    with torch.no_grad():
        for end in renderer.vocabulary.end:
            lm.get_output_embeddings().weight[end] *= 2
    expected = [
        drawn_by_hand(lm.eval(), renderer.vocabulary, *one, 2.0)
        for one in zip(prompts, numbers, strict=True)
    ]
    before = torch.get_rng_state()
    assert generate(lm.train(), renderer.vocabulary, prompts, numbers, 2.0) == expected
    assert lm.training and torch.equal(torch.get_rng_state(), before)


def test_no_position_lies_beyond_the_models_context(tiny_model, renderer):
    lm = tiny_model("GPT-2")  # 128 positions
    prompts, numbers = [[260] * 120, [261] * 8], [np.full(8, 0.3), np.full(100, 0.3)]
    found = generate(lm, renderer.vocabulary, prompts, numbers, 1.0)
    assert found == [
        drawn_by_hand(lm, renderer.vocabulary, *one, 1.0)
        for one in zip(prompts, numbers, strict=True)
    ]


def test_tokens_are_drawn_as_often_as_they_are_probable(tiny_model, renderer):
    lm, vocabulary = tiny_model(), renderer.vocabulary
    numbers = [np.array([(i + 0.5) / 2000]) for i in range(2000)]
    found = np.bincount([t for [t] in generate(lm, vocabulary, [[270]] * 2000, numbers, 1.0)])
    with torch.no_grad():
        probs = lm(torch.tensor([[270]])).logits[0, -1].double().exp().numpy()
    silent = sorted(vocabulary.special - vocabulary.end)
    probs[silent] = 0
    np.testing.assert_allclose(found / 2000, probs[: len(found)] / probs.sum(), atol=1.1e-3)
