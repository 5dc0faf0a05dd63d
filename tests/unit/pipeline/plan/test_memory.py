"""Memory of a training, against the example of the ZeRO paper and against what PyTorch really
keeps."""

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, GemmaConfig, LlamaConfig, Qwen2Config

from bld.config.plan import GIB
from bld.config.settings import Training
from bld.pipeline.plan import memory
from bld.pipeline.plan.costs import CHECKPOINTS
from bld.pipeline.plan.shapes import counted
from bld.training.checkpoints import KEPT

LLAMA = LlamaConfig(
    vocab_size=1000,
    hidden_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=128,
    tie_word_embeddings=True,
)
SHAPE = counted(LLAMA)
SIZES = {
    "vocab_size": 64,
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "max_position_embeddings": 256,
}
BILLION = 1e9


def bf16(stage, **settings):
    return Training(precision="bf16", zero_stage=stage, **settings)


@pytest.mark.parametrize("stage, gigabytes", [(0, 120), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_states_are_those_of_the_example_in_the_paper_of_zero(stage, gigabytes):
    """Figure 1 of arXiv 1910.02054: 7.5 billion parameters on 64 GPUs, K = 12."""
    states = memory.states(7.5 * BILLION, 0, bf16(stage), processes=64)
    assert sum(states) / BILLION == pytest.approx(gigabytes, abs=0.05)


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({"precision": "fp32", "zero_stage": 0}, (4 * 110, 4 * 10, 8 * 10)),
        # ZeRO keeps a copy in float32 beside weights that are float32 already.
        ({"precision": "fp32", "zero_stage": 1}, (4 * 110, 4 * 10, 12 * 10 / 2)),
        ({"precision": "bf16", "zero_stage": 2}, (2 * 110, 2 * 10 / 2, 12 * 10 / 2)),
        ({"precision": "bf16", "zero_stage": 3}, (2 * 110 / 2, 2 * 10 / 2, 12 * 10 / 2)),
        ({"precision": "bf16", "zero_stage": 1, "offload": "optimizer"}, (2 * 110, 2 * 10, 0)),
        ({"precision": "bf16", "zero_stage": 3, "offload": "parameters"}, (0, 2 * 10 / 2, 0)),
    ],
)
def test_frozen_weights_have_neither_gradients_nor_optimiser(settings, expected):
    assert memory.states(10, 100, Training(**settings), processes=2) == expected


def kept_per_token(kind, precision, rows=2, length=48):
    """Bytes that a layer keeps of a token for the backward pass (the difference that one more
    makes), and as planned."""
    kept = []
    for layers in (2, 3):
        config = kind(**SIZES, num_hidden_layers=layers)
        lm = AutoModelForCausalLM.from_config(config)
        lm = lm.to(torch.bfloat16 if precision == "bf16" else torch.float32)
        own = {x.untyped_storage().data_ptr() for x in [*lm.parameters(), *lm.buffers()]}
        storages = {}

        def note(tensor, own=own, storages=storages):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                storages[storage.data_ptr()] = (storage.nbytes(), tensor)
            return tensor

        ids = torch.zeros(rows, length, dtype=torch.long)
        mask = torch.zeros(rows, 1, length, length, dtype=lm.dtype)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            states = lm.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
        kept.append(sum(size for size, _ in storages.values()))
        assert states.last_hidden_state.requires_grad
    planned = memory.layer_bytes(counted(config), length, precision)
    return (kept[1] - kept[0]) / (rows * length), planned


@pytest.mark.parametrize("kind", [LlamaConfig, Qwen2Config, GemmaConfig, Gemma2Config])
def test_a_layer_keeps_what_pytorch_keeps(kind):
    found, planned = kept_per_token(kind, "bf16")
    assert found <= planned <= 1.05 * found


def test_in_float32_a_layer_keeps_less_than_twice_as_much():
    found, planned = kept_per_token(LlamaConfig, "fp32")
    assert found <= planned <= 1.4 * found


def test_what_a_layer_keeps_by_hand():
    assert memory.layer_bytes(SHAPE, 32, "bf16") == 16 * 64 + 8 * 4 * 16 + 8 * 128 + 4 * 4 + 32


def work(trained=0, processes=1, tokens=512, **settings):
    training = Training(**({"precision": "bf16", "zero_stage": 1} | settings))
    return memory.work_bytes(SHAPE, training, tokens, trained, processes, symbols=0)


def test_the_height_of_the_work_by_hand():
    layer = 512 * memory.layer_bytes(SHAPE, 512, "bf16")
    logits = 16 * 512 * 1000
    head_gradient = 2 * 1000 * 64
    assert work() == 4 * layer + logits + head_gradient
    hidden = 3 * 512 * 2 * 64
    assert work(activation_checkpointing=True) == hidden + 2 * layer + logits + head_gradient
    assert work(zero_stage=3) == work() + 2 * SHAPE.parameters
    # More weights than activations: the optimiser's float32 copy of the gradients is what counts.
    assert work(trained=BILLION, processes=4) == 4 * BILLION / 4
    assert work(trained=BILLION, offload="optimizer") == work()


def test_the_height_is_that_of_the_work_or_of_the_loading():
    assert memory.Memory(1, 2, 3, 4, 5, loading=14).total == 15 + 4 * GIB
    assert memory.Memory(1, 2, 3, 4, 5, loading=16).total == 16 + 4 * GIB


def test_what_is_read_and_offloaded_stands_in_the_memory_of_the_host():
    reserve, parameters = 4 * GIB, SHAPE.parameters
    plain = memory.host_bytes(SHAPE, bf16(1), trained=10, processes=8, nodes=2)
    assert plain == 4 * (4 * parameters + reserve)
    offloaded = bf16(3, offload="parameters")
    more = memory.host_bytes(SHAPE, offloaded, trained=10, processes=8, nodes=2)
    assert more - plain == (12 + 4) * 10 / 2 + 2 * parameters / 2


@pytest.mark.parametrize(
    "precision, stage, bytes_each",
    [("fp32", 0, 12), ("fp32", 1, 16), ("bf16", 1, 14), ("bf16", 3, 12)],
)
def test_a_checkpoint_holds_weights_and_optimiser(precision, stage, bytes_each):
    training = Training(precision=precision, zero_stage=stage)
    assert memory.checkpoint_bytes(1000, training) == bytes_each * 1000


def test_room_is_kept_for_one_checkpoint_more_than_are_kept():
    assert CHECKPOINTS == KEPT + 1
