"""Parameters and operations, against transformers' own models and torch's own counter of operations."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
)

from bld.config.settings import Lora
from bld.pipeline.plan.models import read_shape
from bld.pipeline.plan.shapes import (
    CAUSAL_WIDTH,
    Shape,
    body_flops,
    forward_flops,
    head_parameters,
    lora_parameters,
    trained_parameters,
    training_flops,
)
from bld.training import heads
from bld.training.lora import add_lora

LLAMA_1B = LlamaConfig(
    vocab_size=128256,
    hidden_size=2048,
    num_hidden_layers=16,
    num_attention_heads=32,
    num_key_value_heads=8,
    intermediate_size=8192,
    tie_word_embeddings=True,
)
LLAMA_3B = LlamaConfig(
    vocab_size=128256,
    hidden_size=3072,
    num_hidden_layers=28,
    num_attention_heads=24,
    num_key_value_heads=8,
    intermediate_size=8192,
    tie_word_embeddings=True,
)
LLAMA_8B = LlamaConfig(
    vocab_size=128256,
    hidden_size=4096,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
    intermediate_size=14336,
    tie_word_embeddings=False,
)
GEMMA_2B = Gemma2Config(
    vocab_size=256000,
    hidden_size=2304,
    num_hidden_layers=26,
    num_attention_heads=8,
    num_key_value_heads=4,
    head_dim=256,
    intermediate_size=9216,
)
QWEN = Qwen2Config(
    vocab_size=151936,
    hidden_size=1536,
    num_hidden_layers=28,
    num_attention_heads=12,
    num_key_value_heads=2,
    intermediate_size=8960,
    tie_word_embeddings=True,
)
MISTRAL = MistralConfig(tie_word_embeddings=False)
TINY = LlamaConfig(
    vocab_size=96,
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=56,
    tie_word_embeddings=True,
    attn_implementation="eager",
)
TOKENS = 16


@pytest.fixture
def shape_of(tmp_path):
    def shape(config):
        config.save_pretrained(tmp_path)
        return read_shape.__wrapped__(tmp_path / "config.json", False)

    return shape


def empty(config):
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def count(parameters):
    return sum(parameter.numel() for parameter in parameters)


@pytest.mark.parametrize(
    "config", [LLAMA_1B, LLAMA_3B, LLAMA_8B, GEMMA_2B, QWEN, MISTRAL, GemmaConfig(), TINY],
    ids=["1b", "3b", "8b", "gemma2", "qwen2", "mistral", "gemma", "tiny"],
)  # fmt: skip
def test_a_shape_has_the_parameters_that_the_model_has(shape_of, config):
    assert shape_of(config).parameters == count(empty(config).parameters())


@pytest.mark.parametrize("config", [GPT2Config(), GPTNeoXConfig()], ids=["gpt2", "neox"])
def test_of_older_kinds_only_biases_and_places_are_missed(shape_of, config):
    own = count(empty(config).parameters())
    assert 0.99 * own < shape_of(config).parameters <= own


def test_the_parameters_of_llama_by_hand():
    shape = Shape(3072, 28, 24, 8, 128, 8192, 128256, tied=True)
    attention = 3072 * 3072 + 2 * 3072 * 1024 + 3072 * 3072
    feed_forward = 3 * 3072 * 8192
    norms = 2 * 3072
    whole = 128256 * 3072 + 28 * (attention + feed_forward + norms) + 3072
    assert shape.parameters == whole == 3_212_749_824


def tiny_model(lora=None):
    lm = AutoModelForCausalLM.from_config(TINY, attn_implementation="eager")
    if lora:
        add_lora(lm, lora, seed=0)
    return lm.eval()


def counted(lm, backward):
    """Operations per token as torch counts them, the loss itself aside."""
    ids = torch.arange(TOKENS)[None]
    with FlopCounterMode(display=False) as counter:
        logits = lm(input_ids=ids, use_cache=False).logits
        if backward:
            logits.sum().backward()
    return counter.get_total_flops() / TOKENS


def test_a_forward_pass_takes_the_operations_that_torch_counts(shape_of):
    with torch.no_grad():
        assert counted(tiny_model(), False) == pytest.approx(
            forward_flops(shape_of(TINY), TOKENS), rel=0.01
        )


def test_a_training_step_takes_the_operations_that_torch_counts(shape_of):
    planned = training_flops(shape_of(TINY), TOKENS, None, again=False)
    assert counted(tiny_model(), True) == pytest.approx(planned, rel=0.01)


def test_low_rank_updates_take_the_operations_that_torch_counts(shape_of):
    lora = Lora(rank=8, alpha=8, targets=["q_proj", "down_proj"], embeddings=True)
    planned = training_flops(shape_of(TINY), TOKENS, lora, again=False)
    assert counted(tiny_model(lora), True) == pytest.approx(planned, rel=0.01)


def test_operations_by_hand():
    shape = Shape(8, 2, 2, 1, 4, 12, 100, tied=True)
    layer = 8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 12
    entries = 2 * layer + 100 * 8
    attention = 2 * 8 * 50  # layers, width, context
    assert body_flops(shape, 50) == 2 * 2 * layer + 4 * attention
    assert forward_flops(shape, 50) == 2 * entries + 4 * attention
    assert training_flops(shape, 50, None, again=False) == 6 * entries + 12 * attention
    assert training_flops(shape, 50, None, again=True) == 8 * entries + 16 * attention
    lora = Lora(rank=3, targets=["q_proj"], embeddings=False)
    updates = 2 * 3 * (8 + 8)
    assert (
        training_flops(shape, 50, lora, again=False) == 4 * entries + 12 * attention + 6 * updates
    )


@pytest.mark.parametrize("embeddings", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_low_rank_updates_train_as_many_parameters_as_peft_adds(shape_of, embeddings, tied):
    config = LlamaConfig(**(TINY.to_diff_dict() | {"tie_word_embeddings": tied}))
    lora = Lora(rank=4, targets=["self_attn.q_proj", "v_proj", "up_proj"], embeddings=embeddings)
    lm = AutoModelForCausalLM.from_config(config)
    add_lora(lm, lora, seed=0)
    shape = shape_of(config)
    trained = count(p for p in lm.parameters() if p.requires_grad)
    assert trained_parameters(shape, lora) == trained
    assert shape.parameters + lora_parameters(shape, lora) == count(lm.parameters())


def test_a_byte_head_has_the_parameters_of_the_trained_one():
    for name, kind in heads.TRAINED_HEADS.items():
        assert head_parameters(name, 48) == count(kind(48, seed=0).parameters())
    assert head_parameters("marginal", 48) == head_parameters("output", 48) == 0
    assert heads.CAUSAL_WIDTH == CAUSAL_WIDTH


def test_a_mixture_of_experts_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "mixtral"}')
    with pytest.raises(ValueError, match="mixture of experts"):
        read_shape(tmp_path / "config.json", False)
