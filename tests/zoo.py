"""A tiny model of every kind that is tried: a few lines of configuration each, random weights.

A kind adds to the common names of most configurations what makes it that kind. Windows, chunks and
the switch of a position code are shorter than the documents of the tests, so that they show.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedModel,
)

SHAPE = {
    "vocab_size": 300,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 24,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SWITCH = 24
HEADS = {"head_dim": 8}
SLIDING = {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}
RECURRENT = {"layer_types": ["linear_attention", "full_attention"]}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
SHARED = {"shared_expert_intermediate_size": 16}
LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.5, 2.0, 2.5],
    "long_factor": [4.0, 5.0, 6.0, 8.0],
    "original_max_position_embeddings": SWITCH,
}
MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}
DELTA = {
    **RECURRENT,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
GPT_2 = {
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 256,
    **dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.0),
}
LLAMA_4 = {
    **HEADS,
    "intermediate_size_mlp": 24,
    "num_local_experts": 2,
    "num_experts_per_tok": 1,
    "attention_chunk_size": 16,
    "no_rope_layers": [1, 0],
    "layer_types": ["chunked_attention", "full_attention"],
    "moe_layers": [1],
}
EYES = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}
QWEN_EYES = {
    "depth": 1,
    "hidden_size": 16,
    "num_heads": 2,
    "intermediate_size": 16,
    "out_hidden_size": 16,
    "patch_size": 8,
}
LLAMA_EYES = {
    **EYES,
    **dict.fromkeys(("vision_output_dim", "projector_input_dim", "projector_output_dim"), 16),
}


@dataclass(frozen=True)
class Kind:
    """A model type, what it adds to the common shape, and the eyes of a model of text and
    images."""

    type: str
    own: dict[str, Any] = field(default_factory=dict)
    wrapper: str | None = None
    eyes: dict[str, Any] = field(default_factory=dict)

    def config(self) -> Any:
        text = {**SHAPE, **self.own}
        if self.wrapper is None:
            return AutoConfig.for_model(self.type, **text)
        return AutoConfig.for_model(
            self.wrapper, text_config={"model_type": self.type, **text}, vision_config=self.eyes
        )

    def model(self) -> PreTrainedModel:
        """With weights large enough to tell every position from another."""
        torch.manual_seed(0)
        auto = AutoModelForImageTextToText if self.wrapper else AutoModelForCausalLM
        lm: PreTrainedModel = auto.from_config(self.config()).eval()
        with torch.no_grad():
            for table in lm.parameters():
                if table.ndim > 1:
                    table.mul_(5)
        return lm


ATTENTION = {
    "Llama": Kind("llama"),
    "Qwen 2": Kind("qwen2"),
    "Qwen 2 with a window": Kind("qwen2", {**SLIDING, "use_sliding_window": True}),
    "Qwen 3": Kind("qwen3", HEADS),
    "Qwen 2 MoE": Kind("qwen2_moe", {**EXPERTS, **SHARED}),
    "Qwen 3 MoE": Kind("qwen3_moe", {**HEADS, **EXPERTS}),
    "Gemma 2": Kind("gemma2", {**HEADS, **SLIDING, "final_logit_softcapping": 2.0}),
    "Gemma 3": Kind("gemma3_text", {**HEADS, **SLIDING}),
    "Mistral": Kind("mistral", {**HEADS, "sliding_window": None}),
    "Mistral with a window": Kind("mistral", {**HEADS, "sliding_window": 6}),
    "Mixtral": Kind("mixtral", LOCAL),
    "gpt-oss": Kind(
        "gpt_oss",
        {
            **HEADS,
            **SLIDING,
            **LOCAL,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
        },
    ),
    "Phi 3": Kind("phi3"),
    "Granite": Kind("granite", {"logits_scaling": 3.0, "residual_multiplier": 0.5}),
    "Cohere": Kind("cohere", {"logit_scale": 0.25}),
    "Cohere 2": Kind("cohere2", {**HEADS, **SLIDING, "logit_scale": 0.25}),
    "OLMo 2": Kind("olmo2"),
    "OLMo 3": Kind("olmo3", SLIDING),
    "SmolLM 3": Kind("smollm3", {"no_rope_layers": [1, 0]}),
    "DeepSeek V3": Kind(
        "deepseek_v3",
        {
            **EXPERTS,
            "num_key_value_heads": 2,
            "n_routed_experts": 4,
            "n_group": 2,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            "q_lora_rank": 8,
            "kv_lora_rank": 8,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
        },
    ),
    "GPT-NeoX": Kind("gpt_neox"),
    "GPT-2": Kind("gpt2", GPT_2),
    "Llama 4": Kind("llama4_text", LLAMA_4),
}
OTHERS = {
    "Phi 3.5 and 4 mini (LongRoPE)": Kind(
        "phi3", {"rope_parameters": LONG, "original_max_position_embeddings": SWITCH}
    ),
    "Llama 4 in rows beyond its scale": Kind("llama4_text", {**LLAMA_4, "floor_scale": 8}),
    "Falcon with ALiBi": Kind("falcon", {"alibi": True}),
    "Bloom": Kind("bloom", {"n_layer": 2, "n_head": 2}),
    "Qwen 3.5": Kind("qwen3_5_text", {**HEADS, **DELTA}),
    "Qwen 3 Next": Kind("qwen3_next", {**HEADS, **DELTA, **EXPERTS, **SHARED}),
    "LFM 2": Kind("lfm2", {"layer_types": ["conv", "full_attention"], "block_multiple_of": 8}),
    "Mamba": Kind("mamba", {"state_size": 4}),
    "Mamba 2": Kind(
        "mamba2", {**HEADS, "num_heads": 4, "state_size": 8, "n_groups": 1, "chunk_size": 8}
    ),
    "Granite 4 hybrid": Kind(
        "granitemoehybrid",
        {**MAMBA, **RECURRENT, **LOCAL, "shared_intermediate_size": 16, "logits_scaling": 3.0},
    ),
    "Falcon-H1": Kind(
        "falcon_h1",
        {**MAMBA, **HEADS, "mamba_d_ssm": 32, "mamba_chunk_size": 8, "lm_head_multiplier": 0.5},
    ),
    "Bamba": Kind("bamba", {**MAMBA, "attn_layer_indices": [1], "mamba_chunk_size": 8}),
    "Recurrent Gemma": Kind(
        "recurrent_gemma",
        {"lru_width": 16, "intermediate_size": 48, "block_types": ["recurrent", "attention"]},
    ),
    "MiniMax": Kind("minimax", {**HEADS, **RECURRENT, **LOCAL, "block_size": 8}),
}
INSIDE_OTHERS = {
    "LLaVA (Llama)": Kind("llama", {}, "llava", {**EYES, "model_type": "clip_vision_model"}),
    "Mistral 3.1": Kind("mistral", HEADS, "mistral3", {**EYES, **HEADS, "model_type": "pixtral"}),
    "Gemma 3 with images": Kind(
        "gemma3_text", {**HEADS, **SLIDING}, "gemma3", {**EYES, "model_type": "siglip_vision_model"}
    ),
    "Qwen 3.5 with images": Kind("qwen3_5_text", {**HEADS, **DELTA}, "qwen3_5", QWEN_EYES),
    "Llama 4 with images": Kind("llama4_text", LLAMA_4, "llama4", LLAMA_EYES),
    "Qwen 2.5 VL": Kind("qwen2_5_vl_text", {}, "qwen2_5_vl", QWEN_EYES),
}
KINDS = ATTENTION | OTHERS | INSIDE_OTHERS
