"""Language models as this project uses them: loaded from a local folder, and run in two halves.

The byte heads read the hidden state that predicts a token, and most positions need no logits at
all, so a model is run as body (ids to hidden states) and output head (hidden states to logits).
Both halves together are checked against the whole model once, so a model kind that does something
in between is refused instead of being trained on other numbers.

Shape letters: B rows, T tokens, V vocabulary, H hidden.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.cache_utils import Cache

from bld.kinds import check_kind
from bld.tokenization.vocabulary import named_ids

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# What configurations call that which happens to logits. Whether a model does something else too is
# found out by `check_halves`.
LOGIT_FACTORS, LOGIT_DIVISORS = ("logit_scale", "lm_head_multiplier"), ("logits_scaling",)
LOGIT_CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
Masks = torch.Tensor | dict[str, torch.Tensor]
"""What is added to attention scores [B, 1, Q, K], 0 or a large negative number: for all layers, or
by their kind."""


def load_language_model(
    folder: Path, precision: str = "fp32", trust_remote_code: bool = False
) -> PreTrainedModel:
    """A causal language model from a local folder of safetensors, in evaluation mode; of a model of
    text and images the model of text alone.

    Raises ValueError if the model kind cannot be run in two halves.
    """
    read: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    config = AutoConfig.from_pretrained(folder, **read)
    check_kind(config, str(folder))
    read |= {"dtype": DTYPES[precision], "use_safetensors": True}
    is_wrapped = _is_wrapped(config)
    auto: Any = AutoModelForImageTextToText if is_wrapped else AutoModelForCausalLM
    whole, found = auto.from_pretrained(folder, output_loading_info=True, **read)
    if missing := sorted(found["missing_keys"]):
        raise ValueError(
            f"{folder}: found no weights for {len(missing)} tables of {type(whole).__name__} "
            f"({missing[0]}, for one); expected a folder with all weights of its model"
        )
    lm: PreTrainedModel = _text_model(whole) if is_wrapped else whole
    lm.eval()
    check_halves(lm)
    nn.Module.to(lm, device())
    return lm


def _is_wrapped(config: PretrainedConfig) -> bool:
    """Whether the text model stands inside another, which `AutoModelForCausalLM` does not take it
    out of."""
    known, text = AutoModelForCausalLM._model_mapping, config.get_text_config()
    return text is not config and known.get(type(config), None) is not known[type(text)]


def _text_model(whole: PreTrainedModel) -> PreTrainedModel:
    """The text model inside a larger one, as a model of its own with the same weights."""
    with torch.device("meta"):
        lm: PreTrainedModel = AutoModelForCausalLM.from_config(whole.config.get_text_config())
    setattr(lm, lm.base_model_prefix, whole.get_decoder())
    lm.set_output_embeddings(whole.get_output_embeddings())
    lm.generation_config = whole.generation_config
    # It is the larger model that says whether its tables are one.
    tables = (table.weight for table in (lm.get_input_embeddings(), lm.get_output_embeddings()))
    lm.config.tie_word_embeddings = len(set(tables)) == 1
    return lm


def device() -> torch.device:
    """The GPU of this process, which torchrun numbers by LOCAL_RANK, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


@contextmanager
def memory_explained(cure: str) -> Iterator[None]:
    """Say what to do where a GPU's memory is full; more memory of the host, which a scheduler gives
    at the next attempt, is of no use there.

    Raises MemoryError in place of torch's error.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        found = str(error).split(". ")[0]
        raise MemoryError(
            f"the GPU's memory is full ({found}), and another attempt will not change that: {cure}"
        ) from error


def body_of(lm: PreTrainedModel) -> PreTrainedModel:
    """The part of a model that gives hidden states."""
    # Llama 4 names it otherwise than it says.
    body: Any = lm.base_model
    return cast(PreTrainedModel, lm.model if body is lm else body)


def hidden_states(
    lm: PreTrainedModel,
    ids_BT: torch.Tensor,
    masks: Masks | None = None,
    positions_BT: torch.Tensor | None = None,
    cache: Cache | None = None,
) -> torch.Tensor:
    """The hidden states that the output head reads, [B, T, H].

    Without `masks` attention is causal. A `cache` holds what stands before, and takes in what is
    read here. Models that scale their logits (Granite, Cohere, Falcon-H1) have their hidden states
    scaled instead, so that the output head alone gives the logits.
    """
    body = body_of(lm)
    kept = {} if cache is None else {_cache_name(body): cache}
    output = body(
        input_ids=ids_BT,
        attention_mask=masks,
        position_ids=positions_BT,
        use_cache=cache is not None,
        **kept,
    )
    hidden_BTH: torch.Tensor = output.last_hidden_state
    scale = logit_scale(lm)
    return hidden_BTH if scale == 1 else hidden_BTH * scale


def _cache_name(body: PreTrainedModel) -> str:
    """What a model calls its cache; what it calls otherwise it would not read."""
    names = inspect.signature(body.forward).parameters
    return "cache_params" if "cache_params" in names else "past_key_values"


def logit_scale(lm: PreTrainedModel) -> float:
    """What a model multiplies its logits by."""
    config = lm.config.get_text_config()
    factor: float = _said(config, LOGIT_FACTORS, 1.0)
    divisor: float = _said(config, LOGIT_DIVISORS, 1.0)
    return factor / divisor


def soft_cap(lm: PreTrainedModel) -> float | None:
    """What a model's logits stay below, bent by a hyperbolic tangent; None where they do not."""
    cap: float | None = _said(lm.config.get_text_config(), LOGIT_CAPS, None)
    return cap


def _said(config: PretrainedConfig, names: Sequence[str], otherwise: Any) -> Any:
    """What a configuration says under one of these names."""
    return next((value for x in names if (value := getattr(config, x, None))), otherwise)


def output_logits(lm: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """Logits [..., V] from hidden states [..., H], capped in models that do so (Gemma 2)."""
    return soft_capped(lm, lm.get_output_embeddings()(hidden))


def soft_capped(lm: PreTrainedModel, logits: torch.Tensor) -> torch.Tensor:
    """Logits as the model gives them out, from what its output head computes."""
    cap = soft_cap(lm)
    return logits if cap is None else cap * torch.tanh(logits / cap)


@torch.no_grad()
def check_halves(lm: PreTrainedModel) -> None:
    """Raise ValueError unless body and output head give the logits of the whole model."""
    ids_BT = torch.arange(8, device=lm.device)[None] % lm.config.get_text_config().vocab_size
    whole = lm(input_ids=ids_BT, use_cache=False).logits.float()
    halves = output_logits(lm, hidden_states(lm, ids_BT)).float()
    close = 1e-2 if lm.dtype == torch.bfloat16 else 1e-4
    if not torch.allclose(whole, halves, rtol=close, atol=close * float(whole.abs().max())):
        raise ValueError(
            f"{type(lm).__name__} changes its hidden states or logits outside its body and output "
            f"head (largest difference {float((whole - halves).abs().max()):.3g}); this model kind "
            "is not supported"
        )


def end_ids(lm: PreTrainedModel) -> set[int]:
    """The tokens at which `generate` stops, as the model's folder says."""
    config = lm.generation_config
    return set(named_ids(config.eos_token_id)) if config else set()


def context_of(lm: PreTrainedModel) -> int | None:
    """The positions that a model has; None for one that does not number them."""
    return getattr(lm.config.get_text_config(), "max_position_embeddings", None)


def check_context(lm: PreTrainedModel, sequence_length: int) -> None:
    """Raise ValueError unless the model has so many positions."""
    limit = context_of(lm)
    if limit and sequence_length > limit:
        raise ValueError(
            f"training.sequence_length is {sequence_length}, but the model's "
            f"max_position_embeddings is {limit}; allowed is at most that"
        )
