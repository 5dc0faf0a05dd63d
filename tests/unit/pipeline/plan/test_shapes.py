"""Parameters and operations, against transformers' own models and torch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    Qwen2Config,
)

from bld.config import settings as config
from bld.config.settings import Lora
from bld.pipeline.plan.shapes import (
    body_flops,
    counted,
    forward_flops,
    head_parameters,
    lora_parameters,
    stated_shape,
    trained_parameters,
    training_flops,
)
from bld.training import heads
from bld.training.lora import add_lora

SMALL = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
TINY = LlamaConfig(
    **SMALL,
    num_key_value_heads=2,
    intermediate_size=56,
    tie_word_embeddings=True,
    attn_implementation="eager",
)
TOKENS = 16


def count(parameters):
    return sum(parameter.numel() for parameter in parameters)


def tiny_model(lora=None, made=TINY):
    lm = AutoModelForCausalLM.from_config(made, attn_implementation="eager")
    if lora:
        add_lora(lm, lora, seed=0)
    return lm.eval()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    "kind", [LlamaConfig, Qwen2Config, Gemma2Config, GPT2Config, GPTNeoXConfig]
)
def test_a_shape_has_the_parameters_that_the_model_has(kind, tied):
    made = kind(**SMALL, tie_word_embeddings=tied, pad_token_id=0)
    shape = counted(made)
    assert shape.parameters == count(AutoModelForCausalLM.from_config(made).parameters())
    assert shape.tables == 96 * 32 * (1 if tied else 2)


def test_the_parameters_of_llama_by_hand_from_what_a_configuration_says():
    said = config.Shape(
        vocabulary=128256,
        hidden=3072,
        layers=28,
        heads=24,
        key_value_heads=8,
        intermediate=8192,
        tied=True,
    )
    attention = 3072 * 3072 + 2 * 3072 * 1024 + 3072 * 3072
    entries = 28 * (attention + 3 * 3072 * 8192)
    shape = stated_shape(said)
    assert shape.entries == entries
    assert shape.parameters == 128256 * 3072 + entries + 28 * 2 * 3072 + 3072 == 3_212_749_824
    assert (shape.width, shape.narrow) == (3072, 1024)


def operations(lm, backward):
    """Operations per token as torch counts them, the loss itself aside."""
    ids = torch.arange(TOKENS)[None]
    with FlopCounterMode(display=False) as counter:
        logits = lm(input_ids=ids, use_cache=False).logits
        if backward:
            logits.sum().backward()
    return counter.get_total_flops() / TOKENS


def test_passes_take_the_operations_that_torch_counts():
    with torch.no_grad():
        forward = operations(tiny_model(), backward=False)
    assert forward == pytest.approx(forward_flops(counted(TINY), TOKENS), rel=0.01)
    planned = training_flops(counted(TINY), TOKENS, None, again=False)
    assert operations(tiny_model(), backward=True) == pytest.approx(planned, rel=0.01)
    lora = Lora(rank=8, alpha=8, targets=["q_proj", "down_proj"], embeddings=True)
    planned = training_flops(counted(TINY), TOKENS, lora, again=False)
    assert operations(tiny_model(lora), backward=True) == pytest.approx(planned, rel=0.01)


def test_operations_by_hand():
    layer = 32 * 32 + 2 * 32 * 16 + 32 * 32 + 3 * 32 * 56
    entries, attention = 3 * layer + 96 * 32, 3 * 32 * 50  # layers, width, context
    shape = counted(TINY)
    assert body_flops(shape, 50) == 2 * 3 * layer + 4 * attention
    assert forward_flops(shape, 50) == 2 * entries + 4 * attention
    assert training_flops(shape, 50, None, again=False) == 6 * entries + 12 * attention
    assert training_flops(shape, 50, None, again=True) == 8 * entries + 16 * attention
    lora = Lora(rank=3, targets=["q_proj"])
    updates = 3 * 3 * (32 + 32)
    expected = 4 * entries + 12 * attention + 6 * updates
    assert training_flops(shape, 50, lora, again=False) == expected


@pytest.mark.parametrize("embeddings", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_low_rank_updates_train_as_many_parameters_as_peft_adds(embeddings, tied):
    made = LlamaConfig(**(TINY.to_diff_dict() | {"tie_word_embeddings": tied}))
    lora = Lora(rank=4, targets=["self_attn.q_proj", "v_proj", "up_proj"], embeddings=embeddings)
    lm, shape = tiny_model(lora, made), counted(made)
    assert trained_parameters(shape, lora) == count(p for p in lm.parameters() if p.requires_grad)
    assert shape.parameters + lora_parameters(shape, lora) == count(lm.parameters())


def test_a_byte_head_has_the_parameters_of_the_trained_one():
    for name, kind in heads.TRAINED_HEADS.items():
        assert head_parameters(name, 48) == count(kind(48, seed=0).parameters())
    assert head_parameters("linear", 48) == 10 * 260 * 49
    assert head_parameters("marginal", 48) == head_parameters("output", 48) == 0
