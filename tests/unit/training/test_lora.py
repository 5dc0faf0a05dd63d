import copy
import warnings

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
)

from bld.config.settings import Lora
from bld.models import check_halves
from bld.training.export import save_model
from bld.training.lora import add_lora, merged_weights

IDS = torch.arange(12)[None] % 7
SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SHAPE |= {"intermediate_size": 24, "vocab_size": 50}


def llama(tied=False):
    return LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=tied)), ["q_proj", "v_proj"]


def gpt2():
    config = GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_inner=24)
    return GPT2LMHeadModel(config), ["c_attn", "mlp.c_proj"]


def neox():
    return GPTNeoXForCausalLM(GPTNeoXConfig(**SHAPE)), ["query_key_value"]


KINDS = {"Llama": llama, "tied Llama": lambda: llama(tied=True), "GPT-2": gpt2, "GPT-NeoX": neox}


@pytest.fixture(params=KINDS)
def made(request):
    """A model and matrices of it to update."""
    torch.manual_seed(0)
    lm, targets = KINDS[request.param]()
    return lm.eval(), targets


@torch.no_grad()
def moved(lm):
    """Every trained weight somewhere else, as training would have it."""
    torch.manual_seed(1)
    for parameter in lm.parameters():
        if parameter.requires_grad:
            parameter += 0.1 * torch.randn_like(parameter)


def trained(lm):
    return {name for name, parameter in lm.named_parameters() if parameter.requires_grad}


def test_updates_start_as_no_change_in_the_model_that_was_there(made):
    lm, targets = made
    before, kind = lm(IDS).logits, type(lm)
    add_lora(lm, Lora(rank=4, targets=targets), seed=0)
    assert type(lm) is kind
    assert torch.equal(lm(IDS).logits, before)
    check_halves(lm)


def test_only_the_two_factors_of_the_targets_are_trained(made):
    lm, targets = made
    names = [name for name, _ in lm.named_modules() if name.endswith(tuple(targets))]
    add_lora(lm, Lora(rank=4, targets=targets), seed=0)
    factors = {f"{name}.lora_{side}.default.weight" for name in names for side in "AB"}
    assert trained(lm) == factors


def test_the_embeddings_and_the_output_head_are_trained_in_full_if_wanted(made):
    lm, targets = made
    tables = {*lm.get_input_embeddings().parameters(), *lm.get_output_embeddings().parameters()}
    add_lora(lm, Lora(rank=4, targets=targets, embeddings=True), seed=0)
    in_full = {p for name, p in lm.named_parameters() if p.requires_grad and "lora_" not in name}
    assert in_full == tables


@pytest.mark.parametrize("embeddings", [False, True])
def test_a_merged_export_computes_what_the_updated_model_computes(made, embeddings, tmp_path):
    lm, targets = made
    plain, before = set(lm.state_dict()), lm(IDS).logits.detach()
    add_lora(lm, Lora(rank=4, alpha=6.0, targets=targets, embeddings=embeddings), seed=0)
    moved(lm)
    expected = lm(IDS).logits.detach()
    assert (expected - before).abs().max() > 0.01

    weights = copy.deepcopy(lm.state_dict())
    with warnings.catch_warnings(action="error"):  # peft would say that weights are tied no longer
        merged = merged_weights(lm, weights)
    assert set(merged) == plain
    save_model(lm, merged, tmp_path, tmp_path / "model")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", local_files_only=True)
    torch.testing.assert_close(loaded(IDS).logits, expected, rtol=1e-5, atol=1e-5)
    assert loaded.config.tie_word_embeddings == lm.config.tie_word_embeddings

    # Training could go on: neither the weights nor the model have changed.
    assert torch.equal(lm(IDS).logits, expected)
    assert all(torch.equal(weights[name], w) for name, w in lm.state_dict().items())


def test_a_merge_is_the_weights_plus_alpha_over_rank_times_the_factors(made):
    lm, targets = made
    name = next(name for name, _ in lm.named_modules() if name.endswith(targets[0]))
    add_lora(lm, Lora(rank=4, alpha=6.0, targets=targets), seed=0)
    moved(lm)
    state = lm.state_dict()
    a, b = (state[f"{name}.lora_{side}.default.weight"] for side in "AB")
    update, base = 1.5 * b @ a, state[f"{name}.base_layer.weight"]
    expected = base + (update.T if update.shape != base.shape else update)
    torch.testing.assert_close(merged_weights(lm, state)[f"{name}.weight"], expected)


def test_updates_in_bfloat16_are_merged_in_float32(made):
    lm, targets = made
    add_lora(lm, Lora(rank=4, targets=targets), seed=0)
    moved(lm)
    rounded = {name: w.bfloat16() for name, w in lm.state_dict().items()}
    exact = merged_weights(lm, {name: w.float() for name, w in rounded.items()})
    merged = merged_weights(lm, rounded)
    assert all(w.dtype == torch.float32 for w in merged.values())
    assert all(torch.equal(merged[name], w) for name, w in exact.items())


def test_the_seed_draws_the_updates():
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(0)
        lm, targets = llama()
        torch.randn(seed + 3)
        add_lora(lm, Lora(rank=4, targets=targets), seed)
        drawn.append(lm.model.layers[1].self_attn.v_proj.lora_A["default"].weight)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_a_target_that_matches_nothing_is_refused_with_those_that_would(made):
    lm, _ = made
    names = {"q_proj", "k_proj", "down_proj"} if isinstance(lm, LlamaForCausalLM) else {"dense"}
    if isinstance(lm, GPT2LMHeadModel):
        names = {"c_attn", "c_proj", "c_fc"}
    before = trained(lm)
    with pytest.raises(ValueError, match=r"training\.lora\.targets: found `q_porj`") as caught:
        add_lora(lm, Lora(targets=["q_porj"]), seed=0)
    assert all(f" {name}" in str(caught.value) for name in names)
    assert trained(lm) == before


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_the_embeddings_and_the_output_head_are_no_targets(target):
    lm, _ = llama()
    with pytest.raises(ValueError, match=f"found `{target}`.*`embeddings: true` trains"):
        add_lora(lm, Lora(targets=["q_proj", target]), seed=0)


@pytest.fixture(scope="module")
def experts():
    return Qwen2MoeForCausalLM(
        Qwen2MoeConfig(
            vocab_size=40,
            hidden_size=16,
            intermediate_size=24,
            moe_intermediate_size=8,
            shared_expert_intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            num_experts=4,
            num_experts_per_tok=2,
        )
    )


@pytest.mark.parametrize("target", ["gate_proj", "down_proj", "up_proj"])
def test_experts_that_are_one_tensor_are_not_left_out_without_a_word(experts, target):
    words = f"`{target}`, which in Qwen2MoeForCausalLM also stands for 1 tensors of all experts"
    with pytest.raises(ValueError, match=words):
        add_lora(experts, Lora(targets=["q_proj", target]), 0)


def test_who_names_the_shared_expert_gets_it(experts):
    add_lora(experts, Lora(targets=["shared_expert.down_proj"]), 0)
    trained = {name for name, weight in experts.named_parameters() if weight.requires_grad}
    assert trained and all(".shared_expert.down_proj." in name for name in trained)
