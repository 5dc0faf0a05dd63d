"""Language models as this project uses them: loaded from a local folder, and run in two halves.

The byte heads read the hidden state that predicts a token, and most positions need no logits at
all, so a model is run as body (ids to hidden states) and output head (hidden states to logits).
Both halves together are checked against the whole model once, so a model kind that does something
in between is refused instead of being trained on other numbers.

Shape letters: B rows, T tokens, V vocabulary, H hidden.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load_language_model(
    folder: Path, precision: str = "fp32", trust_remote_code: bool = False
) -> PreTrainedModel:
    """A causal language model from a local folder of safetensors, in evaluation mode.

    Raises ValueError if the model kind cannot be run in two halves.
    """
    lm: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=DTYPES[precision],
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=trust_remote_code,
    )
    lm.eval()
    check_halves(lm)
    nn.Module.to(lm, device())
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


def hidden_states(
    lm: PreTrainedModel,
    ids_BT: torch.Tensor,
    mask_B1TT: torch.Tensor | None = None,
    positions_BT: torch.Tensor | None = None,
) -> torch.Tensor:
    """The hidden states that the output head reads, [B, T, H].

    `mask_B1TT` is added to the attention scores (0 or a large negative number); without it
    attention is causal.
    """
    output = lm.base_model(
        input_ids=ids_BT, attention_mask=mask_B1TT, position_ids=positions_BT, use_cache=False
    )
    hidden_BTH: torch.Tensor = output.last_hidden_state
    return hidden_BTH


def output_logits(lm: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """Logits [..., V] from hidden states [..., H], capped in models that do so (Gemma 2)."""
    return soft_capped(lm, lm.get_output_embeddings()(hidden))


def soft_capped(lm: PreTrainedModel, logits: torch.Tensor) -> torch.Tensor:
    """Logits as the model gives them out, from what its output head computes."""
    cap = getattr(lm.config.get_text_config(), "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


@torch.no_grad()
def check_halves(lm: PreTrainedModel) -> None:
    """Raise ValueError unless body and output head give the logits of the whole model."""
    ids_BT = torch.arange(8, device=lm.device)[None] % lm.config.get_text_config().vocab_size
    whole = lm(input_ids=ids_BT, use_cache=False).logits.float()
    halves = output_logits(lm, hidden_states(lm, ids_BT)).float()
    if not torch.allclose(whole, halves, rtol=1e-2, atol=1e-2 * float(whole.abs().max())):
        raise ValueError(
            f"{type(lm).__name__} changes its hidden states or logits outside its body and output "
            f"head (largest difference {float((whole - halves).abs().max()):.3g}); this model kind "
            "is not supported"
        )


def end_ids(lm: PreTrainedModel) -> set[int]:
    """The tokens at which `generate` stops, as the model's folder says."""
    named = lm.generation_config and lm.generation_config.eos_token_id
    return set(named if isinstance(named, list) else () if named is None else (named,))


def context_of(lm: PreTrainedModel) -> int | None:
    """The positions that a model has; None for one that does not number them."""
    return getattr(lm.config.get_text_config(), "max_position_embeddings", None)


def check_context(lm: PreTrainedModel, sequence_length: int) -> None:
    """Raise ValueError unless every token of a sequence can attend to all before it: packed rows
    come with a mask of their own, in place of the model's sliding window."""
    config = lm.config.get_text_config()
    for name in ("max_position_embeddings", "sliding_window"):
        limit = getattr(config, name, None)
        if limit and sequence_length > limit:
            raise ValueError(
                f"training.sequence_length is {sequence_length}, but the model's {name} is "
                f"{limit}; allowed is at most that"
            )
